"""What does this site alone know: by which key rows are digested that leave it, and where its run folders stand?"""

import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex
from tempfile import NamedTemporaryFile

import numpy as np
from numpy.typing import NDArray

from hi_ml.app.errors import SiteKeyInvalid

Digests = NDArray[np.uint64]
_SITE, _KEY, _RUNS = ".hi_ml", "key", "runs"
_BYTES, _WORD = 32, 8
_FINGERPRINT = b"which key is this?"


def keyed(digests: Digests) -> Digests:
    """Return digests, shape (n,), that are equal where those given are, and tell nothing without the site's key."""
    key = site_key()
    distinct, inverse = np.unique(digests, return_inverse=True)
    words = [blake2b(one.tobytes(), digest_size=_WORD, key=key).digest() for one in distinct.astype("<u8")]
    return np.frombuffer(b"".join(words), dtype="<u8").astype(np.uint64)[inverse]


def fingerprint() -> str:
    """Name the site's key without telling it."""
    return blake2b(_FINGERPRINT, digest_size=_WORD, key=site_key()).hexdigest()


def remember(run_id: str, folder: Path) -> None:
    """Note where the folder of a tracked run stands, for it keeps what did not leave."""
    notes = _site() / _RUNS
    notes.mkdir(mode=0o700, exist_ok=True)
    (notes / Path(run_id).name).write_text(os.path.relpath(folder), encoding="utf-8")


def home_of(run_id: str) -> Path | None:
    """Return the folder of a tracked run; None where this site has not, or no longer, got it."""
    note = Path(_SITE, _RUNS, Path(run_id).name)
    folder = Path(note.read_text(encoding="utf-8")) if note.is_file() else None
    return folder.resolve() if folder is not None and folder.is_dir() else None


def _site() -> Path:
    folder = Path(_SITE)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def site_key(path: Path | None = None) -> bytes:
    """Read the site's key, or make it, whole at once: another process may ask at the same moment.

    Raises
    ------
    SiteKeyInvalid
        If the file holds none.
    """
    path = path or _site() / _KEY
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent) as part, suppress(FileExistsError):  # mode 600
            part.write(token_hex(_BYTES))
            part.flush()
            os.fsync(part.fileno())
            os.link(part.name, path)
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise SiteKeyInvalid.of(path, 2 * _BYTES)
    return key
