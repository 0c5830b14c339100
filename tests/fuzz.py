"""Does every input end in a result or in a sentence, soon, and in little memory?

``python tests/fuzz.py <inputs> [seed]`` damages a table (CSV and Parquet), the YAML of a dataset, of a task and of a
claim, a manifest, a run folder and a model, each input in another way that its number alone decides, and does with each
what the commands do, in this process. Anything but a result or a sentence is listed with the number of its input.
"""

import copy
import faulthandler
import io
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import yaml

import hi_ml
from hi_ml.app.config import build, compose, conf_dir
from hi_ml.app.errors import Defect, HiMlError, OutputFailed
from hi_ml.app.launch import Invocation, _refusal
from hi_ml.claims.catalogue import settings_of
from hi_ml.data.simulation import simulate
from hi_ml.evaluation.comparison import compare_runs
from hi_ml.findings import FindingsSettings
from hi_ml.modeling.problem import available
from hi_ml.modeling.tasks import select
from hi_ml.prediction import batch
from hi_ml.prediction.load import SCORER, SIGNED, digest
from hi_ml.tracking import history
from hi_ml.tracking.door import refuse_strange
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.record import record
from hi_ml.train import TrainSettings, train

SECONDS = 20  # that an input may take
ROWS = 120
_SELDOM, _OFTEN, _MOSTLY = 0.1, 0.4, 0.7  # how likely a way to damage something is
ODD_TEXTS = (
    '"', ",", "\n", "\r\n", "\0", "\ufeff", "\u202e", "\ud7ff", "é", "'", "=1+1", "1e999", "-inf", "nan", "\u0663",
    "2099-13-45", "9" * 400, "{", "}", "[", "!!python/object:os.system ls", "&a *a", "${oc.env:HOME}", "${a:", "null",
    "~", ": ", "\t", "- ",
)  # fmt: skip
ODD_VALUES = (
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    "",
    "x" * 5000,
    [],
    {},
    [[]],
    {"a": {}},
    "../..",
    "\0",
    -0.0,
    [None],
    "1",
)
ENCODINGS = ("utf-16-le", "utf-16-be", "utf-16", "utf-32", "latin-1", "cp1252", "utf-7", "cp037", "shift_jis", "idna")


class HungError(BaseException):
    """An input took longer than it may."""


@dataclass
class Base:
    """What is sound, and is damaged: a table, and what was made of it."""

    folder: Path
    table: pa.Table = field(init=False)
    text: bytes = field(init=False)
    here: Invocation = field(init=False)

    def __post_init__(self) -> None:
        """Train a small model, and score the table."""
        os.chdir(self.folder)
        self.table = simulate("planted", ROWS, seed=1, hospitals=4).table
        pyarrow.csv.write_csv(self.table, self.folder / "base.csv")
        self.text = (self.folder / "base.csv").read_bytes()
        asked = [f"dataset.source={self.folder / 'base.csv'}", "task=length_of_stay", "model=linear"]
        asked += ["dataset=kaggle", "tracking=none", "explain.rows=5"]
        cfg = compose("train", *asked)
        (self.folder / "one").mkdir()
        self.here = Invocation(self.folder / "one", cfg, asked, "hi_ml.train")
        train(build(TrainSettings, cfg), self.here)
        shutil.copytree(self.folder / "one", self.folder / "other")
        self.run, self.other = (self.folder / name / "length_of_stay" for name in ("one", "other"))
        self.model = hi_ml.load_model(self.run)
        self.dataset = hi_ml.declare(self.folder / "base.csv")
        score(self, self.folder / "base.csv", self.folder / "scored.csv")


def score(base, path, output, model=None, **changes):
    """Score a file as `predict` does."""
    dataset = hi_ml.declare(path, **changes)
    request = batch.BatchRequest(input=str(path), output=output, dataset=dataset, reasons=1, max_rejected=1.0)
    files = batch.fingerprints(str(path), dataset)
    batch.score(request, model or base.model, files=files, say=lambda _: None, stage=lambda *_: None)


# How things are damaged


def damaged_bytes(content, rng):
    """Flip, cut, repeat or insert, a few times."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        at, length = rng.integers(0, len(content) + 1), int(rng.integers(1, 40))
        match rng.integers(0, 6):
            case 0 if content:
                content[min(at, len(content) - 1)] ^= 1 << rng.integers(0, 8)
            case 1:
                del content[at : at + length]
            case 2:
                content[at:at] = content[max(0, at - length) : at] * int(rng.integers(1, 4))
            case 3:
                content[at:at] = ODD_TEXTS[rng.integers(0, len(ODD_TEXTS))].encode("utf-8", "surrogatepass")
            case 4:
                content[at:at] = rng.bytes(length)
            case 5 if rng.random() < _OFTEN:
                del content[at:]
    return bytes(content)


def damaged_tree(tree, rng):
    """Put odd values in the place of nodes of a JSON or YAML document, or take them away."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.integers(1, 4)):
        places = list(_places(tree))
        if not places:
            return ODD_VALUES[rng.integers(0, len(ODD_VALUES))]
        node, key = places[rng.integers(0, len(places))]
        if rng.random() < _OFTEN:
            del node[key]
        else:
            node[key] = copy.deepcopy(ODD_VALUES[rng.integers(0, len(ODD_VALUES))])
    return tree if rng.random() < 1 - _SELDOM / 4 else ODD_VALUES[rng.integers(0, len(ODD_VALUES))]


def _places(node):
    for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield node, key
        yield from _places(node[key])


def damaged_file(path, rng):
    """Damage a file where it lies."""
    if path.suffix == ".json" and rng.random() < _MOSTLY:
        path.write_text(json.dumps(damaged_tree(json.loads(path.read_text()), rng)))
    elif path.suffix == ".yaml" and rng.random() < _MOSTLY:
        path.write_text(yaml.safe_dump(damaged_tree(yaml.safe_load(path.read_text()), rng)))
    elif path.suffix == ".parquet" and rng.random() < _OFTEN:
        table = pq.read_table(path)
        pq.write_table(retyped(table, rng), path)
    elif rng.random() < _SELDOM:
        path.unlink()
    else:
        path.write_bytes(damaged_bytes(path.read_bytes(), rng))


def retyped(table, rng):
    """Give a few columns another type, with what can be of their cells."""
    for at in rng.choice(table.num_columns, int(rng.integers(1, 4)), replace=False):
        kinds = _other_kinds(table.column(int(at)).combine_chunks(), rng)
        table = table.set_column(int(at), table.column_names[int(at)], kinds[rng.integers(0, len(kinds))]())
    return table


def _other_kinds(column, rng):
    n, texts = len(column), pa.array([None if cell is None else str(cell) for cell in column.to_pylist()], pa.string())
    whole = lambda low, high, kind=None: pa.array(rng.integers(low, high, n), kind)  # noqa: E731
    return [
        lambda: pc.cast(texts, pa.string_view()),
        lambda: pc.cast(texts, pa.large_string()),
        lambda: pc.cast(texts, pa.binary()),
        lambda: pa.array([rng.bytes(4) for _ in range(n)], pa.binary()),
        lambda: pa.Array.from_buffers(pa.string(), n, pa.array([rng.bytes(4) for _ in range(n)]).buffers()),
        lambda: pa.array(rng.normal(0, 50, n).astype(np.float16)),
        lambda: pa.array([[1.0, 2.0]] * n),
        lambda: pa.array([[]] * n, pa.list_(pa.string())),
        lambda: pa.array([{"a": 1}] * n),
        lambda: pa.array([[("k", 1)]] * n, pa.map_(pa.string(), pa.int64())),
        lambda: pc.cast(pa.array(rng.normal(0, 50, n)), pa.decimal128(38, 10), safe=False),
        lambda: whole(-(10**6), 10**6, pa.int32()).cast(pa.date32()),
        lambda: whole(-(2**62), 2**62).cast(pa.timestamp("ns")),
        lambda: whole(-(2**40), 2**40).cast(pa.timestamp("s", "Asia/Tokyo")),
        lambda: whole(0, 10**6).cast(pa.duration("s")),
        lambda: whole(0, 86400, pa.int32()).cast(pa.time32("s")),
        lambda: pa.array(rng.random(n) < _OFTEN),
        lambda: pa.nulls(n),
        lambda: pa.array(rng.integers(0, 2**63, n, dtype=np.uint64)),
        texts.dictionary_encode,
        lambda: pc.if_else(pa.array(rng.random(n) < _OFTEN), texts, None),
    ]


# The inputs


def csv_input(base, rng, work):
    """A CSV whose bytes are damaged, or that is encoded in another way than is said."""
    content, changes = damaged_bytes(base.text, rng), {}
    if rng.random() < _OFTEN:
        content = base.text.decode().encode(ENCODINGS[rng.integers(0, len(ENCODINGS) - 1)], "replace")
    if rng.random() < _OFTEN:
        changes["encoding"] = ENCODINGS[rng.integers(0, len(ENCODINGS))]
    if rng.random() < _SELDOM:
        changes["separator"] = ODD_TEXTS[rng.integers(0, len(ODD_TEXTS))]
    path = work / "mine.csv"
    path.write_bytes(content)
    if rng.random() < _OFTEN:
        return lambda: score(base, path, work / "out.csv", **changes)
    return lambda: hi_ml.read(path, **changes)


def parquet_input(base, rng, work):
    """A Parquet file of other types, or of damaged bytes."""
    path = work / "mine.parquet"
    pq.write_table(retyped(base.table, rng), path)
    if rng.random() < _OFTEN:
        path.write_bytes(damaged_bytes(path.read_bytes(), rng))
    if rng.random() < _OFTEN:
        return lambda: score(base, path, work / "out.parquet")
    return lambda: _pose(hi_ml.read(path, max_rejected=1.0))


def _pose(admissions):
    hi_ml.pose(admissions, model="linear")
    hi_ml.state_claims(admissions, "emergency_stay")


def yaml_input(base, rng, work):
    """A dataset, a task or a claim of one's own, described in YAML."""
    group, name = [("dataset", "kaggle"), ("task", "length_of_stay"), ("finding", "emergency_stay")][rng.integers(0, 3)]
    text = (conf_dir() / group / f"{name}.yaml").read_text(encoding="utf-8")
    (work / group).mkdir()
    if rng.random() < _MOSTLY:
        first = text.splitlines()[0] if text.startswith("# @package") else ""
        text = f"{first}\n" + yaml.safe_dump(damaged_tree(yaml.safe_load(text), rng))
        content = text.encode()
    else:
        content = damaged_bytes(text.encode(), rng)
    (work / group / f"{name}.yaml").write_bytes(content)

    def act():
        asked = [f"{group}={name}", f"dataset.source={base.folder / 'base.csv'}"]
        if group == "finding":
            cfg = compose("findings", *asked, "dataset=kaggle", config_dir=work)
            settings_of(build(FindingsSettings, cfg).findings)
            return
        more = "task=billing" if group == "dataset" else "dataset=kaggle"
        settings = build(TrainSettings, compose("train", *asked, more, config_dir=work))
        admissions = hi_ml.read(settings.dataset)
        for task in settings.at_horizon():
            select(task, available(admissions))

    return act


def manifest_input(base, rng, work):
    """A manifest that says something else."""
    for name in ("scored.csv", "scored.csv.manifest.json"):
        shutil.copy(base.folder / name, work / name)
    path = work / "scored.csv.manifest.json"
    damaged_file(path, rng)
    fetch = lambda uri: base.model if uri == base.model.uri else hi_ml.load_model(uri)  # noqa: E731
    return lambda: batch.prove(path, fetch=fetch, dataset=base.dataset, sample=20, seed=0)


def folder_input(base, rng, work):
    """A run folder in which some files are damaged."""
    run = work / "run"
    shutil.copytree(base.run, run)
    paths = sorted(path for path in run.rglob("*") if path.suffix in (".json", ".yaml", ".csv", ".parquet", ".txt"))
    paths = [path for path in paths if "charts" not in path.parts]
    for path in rng.choice(paths, int(rng.integers(1, 3)), replace=False):
        damaged_file(path, rng)
    match rng.integers(0, 2):
        case 0:
            return lambda: (refuse_strange(RunFolder(run)), record(RunFolder(run)))
        case _:
            return lambda: compare_runs(
                history.select("kaggle/length_of_stay", "none", names=[str(run), str(base.other)], here=base.here).runs
            )


def model_input(base, rng, work):
    """A model that someone damaged, and signed anew."""
    folder = work / "model"
    shutil.copytree(base.run / "model", folder)
    scorer = folder / SCORER
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen = scorer / "mapping.json" if rng.random() < _MOSTLY else paths[rng.integers(0, len(paths))]
    damaged_file(chosen, rng)
    about = folder / "MLmodel"
    if rng.random() < 1 - _SELDOM and about.is_file() and chosen != about:
        text = about.read_text()
        about.write_text(re.sub(rf"({SIGNED}: )\S+", rf"\g<1>{digest(scorer)}", text))
    return lambda: score(base, base.folder / "base.csv", work / "out.csv", hi_ml.load_model(folder))


KINDS: dict[str, Callable] = {
    "csv": csv_input, "parquet": parquet_input, "yaml": yaml_input,
    "manifest": manifest_input, "folder": folder_input, "model": model_input,
}  # fmt: skip


def outcome(base, number, *, seed=0):
    """What becomes of an input: its kind, ``result``, ``sentence`` or what is wrong, and the seconds that it took."""
    rng = np.random.default_rng([seed, number])
    kind = list(KINDS)[number % len(KINDS)]
    with tempfile.TemporaryDirectory(dir=base.folder) as folder:
        work = Path(folder)
        act = KINDS[kind](base, rng, work)
        os.chdir(work)
        begun = time.monotonic()
        try:
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            act()
            found = "result"
        except HungError:
            found = f"longer than {SECONDS} s"
        except Exception as error:  # noqa: BLE001
            found = _judged(error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.chdir(base.folder)
    return kind, found, time.monotonic() - begun


def _judged(error):
    refusal = error if isinstance(error, HiMlError) else _refusal(error, composed=True)
    if isinstance(refusal, Defect):
        where = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(one.filename).name}:{one.lineno}" for one in where if "hi_ml" in one.filename]
        return f"{type(error).__name__}: {str(error)[:90]} ({' '.join(ours[-3:])})"
    if isinstance(refusal, OutputFailed) and isinstance(error, OSError):
        return f"called a disk that cannot be written: {error}"
    if "Traceback" in str(refusal):
        return "a sentence with a traceback"
    return "sentence"


def fuzz(folder, numbers, *, seed=0):
    """Try the inputs of these numbers: how often each kind ended how, what is wrong, and what the worst took."""

    def hung(*_):
        raise HungError

    before, here = signal.signal(signal.SIGALRM, hung), Path.cwd()
    counts, wrong, slowest = Counter(), {}, 0.0
    try:
        with redirect_stdout(io.StringIO()):
            base = Base(folder)
        for number in numbers:
            kind, found, seconds = outcome(base, number, seed=seed)
            slowest = max(slowest, seconds)
            counts[kind, found if found in ("result", "sentence") else "wrong"] += 1
            if found not in ("result", "sentence"):
                wrong[number] = f"{kind}: {found}"
    finally:
        signal.signal(signal.SIGALRM, before)
        os.chdir(here)
    return counts, wrong, slowest


if __name__ == "__main__":
    faulthandler.enable()
    many, chosen = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as place:
        counts, wrong, slowest = fuzz(Path(place), range(many), seed=chosen)
    for number, what in wrong.items():
        print(number, what)
    for (kind, how), count in sorted(counts.items()):
        print(f"{kind:10}{how:10}{count:6}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{many} inputs, {len(wrong)} wrong, slowest {slowest:.1f} s, peak {peak:,.0f} MB")
    sys.exit(bool(wrong))
