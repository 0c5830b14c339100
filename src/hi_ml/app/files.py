"""How is a file or a folder written: whole, or not at all, and where nothing of anyone else stands? And YAML read?"""

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import yaml

from hi_ml.app.errors import OutputFailed

UNFINISHED = ".unfinished"  # how the name of a folder ends in which a run is written
_MARK = ".hi_ml"  # stands in such a folder: it is ours to remove
_OF_HYDRA = ".hydra"  # what it writes where hydra.output_subdir asks for it
_PRIVATE = 0o077  # what a umask takes from all but the user
_MOST_NODES = 1_000_000  # keys and values that a YAML holds once its aliases are written out
_DAY = 86_400.0  # seconds after which nobody comes back for what a killed run left


@contextmanager
def readable(*, by_umask: bool) -> Iterator[None]:
    """Let files and folders be read by the user alone, or by whom the machine's umask lets."""
    before = os.umask(_PRIVATE)
    os.umask(before if by_umask else _PRIVATE)
    try:
        yield
    finally:
        os.umask(before)


def open_up(path: Path) -> None:
    """Give a folder or a file the mode that the umask leaves, whoever made it."""
    before = os.umask(_PRIVATE)
    os.umask(before)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~before)


def scheme_of(path: str) -> str:
    """Return how an address begins, or nothing for a path of this machine.

    Examples
    --------
    >>> scheme_of("s3://bucket/a.csv"), scheme_of("C:/a.csv"), scheme_of("a.csv")
    ('s3://', '', '')
    """
    match = re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/{1,2}", path)  # two slashes are one in what Path makes of them
    return match[0] if match else ""


def to_write(path: str) -> Path:
    """Return the path that a user names for something to be written, where ``~`` is their home.

    Raises
    ------
    OutputFailed
        If it is an address: it would become a folder of that name.
    """
    if scheme := scheme_of(path):
        raise OutputFailed.scheme(scheme)
    return Path(path).expanduser()


def own(folder: Path) -> int:
    """Take a folder for one run, as long as the process lives, and remove what killed runs left.

    In it all goes that no process holds; beside it, what is a day old.

    Returns
    -------
    int
        A file descriptor that holds the lock.

    Raises
    ------
    OutputFailed
        If the folder is the present one, holds anything, or is another process's.
    """
    _sweep(folder.glob(f"*{UNFINISHED}"), age=0)
    _refuse_strangers(folder, ())
    if folder.samefile(Path.cwd()):
        raise OutputFailed.present_folder(folder)
    handle = _lock(folder)
    if handle is None:
        raise OutputFailed.not_empty(folder, ["another run at work"])
    _sweep(chain.from_iterable(folder.parent.glob(f"{depth}*{UNFINISHED}") for depth in ("", "*/")), age=_DAY)
    return handle


@contextmanager
def atomic_folder(path: Path, *, ours: Collection[str] = ()) -> Iterator[Path]:
    """Give a folder to write in, which takes the place of ``path`` at the end and vanishes on any failure.

    Parameters
    ----------
    ours : collection of str
        Names of files of the same run that may stand in ``path`` already: they go along.

    Raises
    ------
    OutputFailed
        If anything else stands there: nothing is overwritten, moved or removed.
    """
    path = path.resolve()  # where a link points to: there the work is done
    _refuse_strangers(path, ours)
    path.parent.mkdir(parents=True, exist_ok=True)
    moved = list[str]()
    with unfinished_folder(path.parent, path.name) as work:
        try:
            yield work
            (work / _MARK).unlink()
            _refuse_strangers(path, ours)  # that came while we wrote
            for entry in path.iterdir() if path.is_dir() else ():
                entry.replace(work / entry.name)
                moved.append(entry.name)
            work.replace(path)
        except BaseException:
            for name in moved:
                (work / name).replace(path / name)
            (work / _MARK).touch()  # again ours to remove: all that was moved here is back
            raise


@contextmanager
def unfinished_folder(parent: Path, name: str) -> Iterator[Path]:
    """Give a folder to write in that vanishes as long as it has our mark; should it not, a later run removes it."""
    work = Path(mkdtemp(prefix=f"{name}.", suffix=UNFINISHED, dir=parent))
    handle = _lock(work)
    try:
        (work / _MARK).touch()
        open_up(work)
        yield work
    finally:
        if (work / _MARK).exists():
            shutil.rmtree(work, ignore_errors=True)
        os.close(handle or 0)


def _refuse_strangers(path: Path, ours: Collection[str]) -> None:
    names = sorted(entry.name for entry in path.iterdir()) if path.exists() else []
    if strangers := [name for name in names if name not in (*ours, _OF_HYDRA)]:
        raise OutputFailed.not_empty(path, strangers)


def _lock(folder: Path) -> int | None:
    """Lock a folder until the process ends or closes the descriptor; None where another one has it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _sweep(folders: Iterable[Path], *, age: float) -> None:
    """Remove the marked folders of runs that were killed so many seconds ago and more."""
    for work in folders:
        with suppress(OSError):  # gone, or not ours to remove
            if time.time() - (work / _MARK).stat().st_mtime >= age and (handle := _lock(work)) is not None:
                shutil.rmtree(work, ignore_errors=True)
                os.close(handle)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; it takes the place of ``path`` at the end and vanishes on any failure.

    Of files written together (`contextlib.ExitStack`), the one entered first appears last: whoever finds it finds all.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any] | list[dict[str, Any]]) -> None:
    """Write plain values, refusing NaN, which is no JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    path.write_text(f"{text}\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    return value.item()  # numpy scalars


def load_yaml(text: str) -> Any:
    """Return what a YAML holds, if its aliases do not stand for more than any file of ours is long.

    Raises
    ------
    ValueError, yaml.YAMLError
        If they do, or it is none.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _written_out(node, {}) > _MOST_NODES:
            raise ValueError(f"its aliases stand for more than {_MOST_NODES:,} values")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _written_out(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values of a node, those behind an alias each time; one that holds itself is endless."""
    if id(node) not in known:
        known[id(node)] = _MOST_NODES + 1  # while it is counted
        inner = chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_written_out(one, known) for one in inner if isinstance(one, yaml.Node))
    return known[id(node)]
