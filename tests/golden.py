"""What does every command say, to the last digit? A record of it, to hold a change of the inside against.

``python tests/golden.py record <folder> [full] [only <word>]`` runs train, findings, tune, compare, predict and
simulate and keeps, in ``<folder>/record.json``, every number, file name, key, metric, tag, exit code and sentence,
but for times, ids, paths, commits and digests of models; with ``only``, of the commands whose name holds the word.
``python tests/golden.py compare <before> <after> [pictures]`` counts what differs, in the commands that both records
ran, and names it.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

REAL = Path(__file__).parents[1] / "data" / "raw" / "healthcare_dataset.csv"
MODELS = ("lgbm", "hist_gbm", "random_forest", "linear", "baseline")
EXPLAINED = ("explain.rows=200", "explain.seconds=3600")  # as many rows on any machine
ASIDE = re.compile(
    r"seconds|git_commit|model_sha256|^start|^finished|^end_?|_time|path|run_id|versions|code_sha|uuid|^uri|_uri|sent|timestamp"
)
NOISE = [
    (re.compile(r"\d{4}-\d\d-\d\d[_ T]\d\d[-:]\d\d[-:]\d\d(?:[-.]\d+)?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "<time>"),
    (re.compile(r"(/[\w.\-]+)+/mlflow\.db"), "<work>/mlflow.db"),
    (re.compile(r"\b[0-9a-f]{32,64}\b"), "<hex>"),
    (re.compile(r"\bm-[0-9a-f]+\b"), "<id>"),
    (re.compile(r"\b\d+(?:\.\d+)? (?:s|seconds|minutes|min|rows/s|MB)\b"), "<amount>"),
]


def calls(work, *, full):
    """The commands, by name: (arguments, whether it trains)."""
    some, many = ("dataset.rows=2500", "dataset.rows=55500")
    rows = many if full else some
    real = f"dataset.source={REAL if full else work / 'real.csv'}"
    for table, chosen in (("simulated", ["dataset=simulated", rows]), ("real", ["dataset=kaggle", real])):
        for model in ("lgbm",) if full else MODELS:
            yield f"train {table} {model}", ["train", f"model={model}", *chosen, *EXPLAINED]
        yield f"findings {table}", ["findings", *chosen]
        yield f"compare {table}", ["compare", *chosen[:1]]
        if full:
            continue
        yield f"train {table} by sex", ["train", *chosen, "interval_by=sex", "task=length_of_stay", "charts=all"]
        classes = ["task=test_results", "recalibrate=true", "significance=permutation", "permutation.count=19"]
        yield f"train {table} classes", ["train", *chosen, *classes, "leakage.repeats=3"]
        yield f"train {table} temporal", ["train", *chosen, "split=temporal", "horizon=discharge", "task=billing"]
        yield f"tune {table}", ["tune", "trials=4", *chosen, "tracking=none"]
        yield f"tune {table} classes", ["tune", "trials=3", "model=linear", "task=test_results", *chosen]
    yield "train refused", ["train", "task=nothing"]
    yield "train horizon", ["train", "horizon=never"]
    yield "train key", ["train", "model.nothing=1"]
    yield "train absent", ["train", "dataset=kaggle", "dataset.source=absent.csv"]
    yield "noise findings", ["findings", "dataset.scenario=noise", "dataset.rows=2000"]
    yield "simulate", ["simulate", "rows=1500", "output=made.csv"]
    for task in ("length_of_stay", "billing", "test_results"):
        for end in ("csv", "parquet"):
            asked = [f"input={work}/batch.{end}", f"output={task}.{end}", f"task={task}", "reasons=3", "chunk_rows=400"]
            yield f"predict {task} {end}", ["predict", "dataset=kaggle", *asked]
    yield "predict verify", ["predict", "verify=billing.csv.manifest.json"]
    yield (
        "predict bad",
        ["predict", "dataset=kaggle", f"input={work}/bad.csv", "output=bad_scored.csv", "max_rejected=.5"],
    )


def tables(work):
    """Write the inputs: a part of the real table, a batch, a batch with bad cells."""
    table = pd.read_csv(REAL, dtype=str, keep_default_na=False)
    table.iloc[[*range(1500), *range(len(table) - 1500, len(table))]].to_csv(work / "real.csv", index=False)
    batch = table.iloc[20000:21500]
    batch.to_csv(work / "batch.csv", index=False)
    batch.to_parquet(work / "batch.parquet", index=False)
    bad = batch.head(200).copy()
    bad.iloc[3, 1], bad.iloc[5, 5], bad.iloc[9, 9] = "ninety", "2099-13-01", "much"
    bad.iloc[11, 4] = "Unheard of"
    bad.to_csv(work / "bad.csv", index=False)


def cleaned(text, work):
    """Text without times, ids and paths."""
    text = re.sub(r"(/[\w.\-]+)*/site-packages", "<site>", text.replace(str(work), "<work>"))
    for pattern, word in NOISE:
        text = pattern.sub(word, text)
    return "\n".join(line for line in text.splitlines() if "Warning" not in line)


def normal(kept):
    """Leave out of a record what an earlier form of this script kept of times and paths."""
    kept = {
        cleaned(key, "<work>"): value if re.fullmatch(r"[0-9a-f]{64}", value) else cleaned(value, "<work>")  # of a file
        for key, value in kept.items()
    }
    return {key: value for key, value in kept.items() if not re.search(r"\.(finished|started|seconds)$", key)}


def leaves(value, name=""):
    """Flatten JSON to (place, value)."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not ASIDE.search(str(key)):
                yield from leaves(inner, f"{name}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{name}[{index}]")
    else:
        yield name, repr(value)


def content(path, work):  # noqa: PLR0911 -- one return a kind of file
    """What a file holds, flat."""
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        return {"": hashlib.sha256(table.to_csv(index=False).encode()).hexdigest(), "columns": ",".join(table)}
    if path.suffix == ".png":
        return {"picture": hashlib.sha256(path.read_bytes()).hexdigest()}
    if path.name == "timings.json":
        return {"": str(sorted(json.loads(path.read_text())))}
    if path.suffix in {".json", ".yaml", ".yml"}:
        read = json.loads if path.suffix == ".json" else yaml.safe_load
        return {key: cleaned(value, work) for key, value in leaves(read(path.read_text()))}
    if path.suffix == ".html":
        text = re.sub(r"data:image/png;base64,[^\"]+", "<picture>", path.read_text())
        return {str(n): line for n, line in enumerate(cleaned(text, work).splitlines())}
    if path.name == "trials.csv":
        return {"": pd.read_csv(path).drop(columns=["started", "seconds"]).to_csv(index=False)}
    if path.suffix in {".csv", ".txt"}:
        return {str(n): cleaned(line, work) for n, line in enumerate(path.read_text().splitlines())}
    return {"": "exists"}


def folder(root, work, *, skip=("model",)):
    """Every file below a folder; of a model only the files' names."""
    found = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = cleaned(str(path.relative_to(root)), work)
        inside = set(path.relative_to(root).parts[:-1]) & set(skip)
        for place, value in ({"": "exists"} if inside else content(path, work)).items():
            found[f"{name}:{place}"] = value
    return found


def store(work):
    """Every run of the store: metrics, parameters, tags, artifacts, registered versions."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow  # noqa: PLC0415 -- seconds, and only a record needs it

    client = mlflow.MlflowClient(f"sqlite:///{work}/mlflow.db")
    found = {}
    for experiment in sorted(client.search_experiments(), key=lambda one: one.name):
        runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"], max_results=1000)
        for n, run in enumerate(runs):
            name = f"{experiment.name}#{n}"
            facts = {"name": run.info.run_name, "metrics": run.data.metrics, "params": run.data.params}
            facts["tags"] = {k: v for k, v in run.data.tags.items() if k == "mlflow.note.content" or "mlflow" not in k}
            facts["datasets"] = [entry.dataset.digest for entry in run.inputs.dataset_inputs]
            facts["artifacts"] = sorted(item.path for item in client.list_artifacts(run.info.run_id))
            found |= {f"{name}{key}": cleaned(value, work) for key, value in leaves(facts)}
    for model in client.search_registered_models():
        found[f"registry {model.name}"] = cleaned(str(sorted(model.aliases.items())), work)
    return found


def record(work, *, full, only):
    """Run every command; return what it said and left."""
    work.mkdir(parents=True)
    tables(work)
    environ = os.environ | {"COLUMNS": "120", "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    kept = {}
    for name, words in calls(work, full=full):
        if only not in name:
            continue
        run = work / "runs" / name.replace(" ", "_")
        extra = [] if words[0] in {"predict", "simulate"} else [f"hydra.run.dir={run}"]
        argv = [sys.executable, "-m", f"hi_ml.{words[0]}", *words[1:], *extra]
        done = subprocess.run(argv, cwd=work, env=environ, capture_output=True, text=True, check=False)
        kept[f"{name}|exit"] = str(done.returncode)
        for stream in ("stdout", "stderr"):
            lines = cleaned(getattr(done, stream), work).splitlines()
            kept |= {f"{name}|{stream}:{n}": line for n, line in enumerate(lines)}
        kept |= {f"{name}|{place}": value for place, value in folder(run, work).items()} if run.exists() else {}
        print(name, done.returncode, flush=True)
    if only:
        return kept
    for path in sorted(p for p in work.glob("*.*") if not p.name.startswith(("mlflow.db", "record"))):
        kept |= {f"{path.name}|{place}": value for place, value in content(path, work).items()}
    return kept | {f"store|{place}": value for place, value in store(work).items()}


def main():
    """Record, or compare two records."""
    what, *paths = sys.argv[1:]
    if what == "record":
        work = Path(paths[0]).resolve()
        kept = record(work, full="full" in paths, only=paths[paths.index("only") + 1] if "only" in paths else "")
        (work / "record.json").write_text(json.dumps(kept, indent=0, sort_keys=True))
        print(f"{len(kept):,} entries")
        return
    before, after = (json.loads((Path(path) / "record.json").read_text()) for path in paths[:2])
    before, after = normal(before), normal(after)
    ran = {key.split("|")[0] for key in before} & {key.split("|")[0] for key in after}
    before, after = ({key: one[key] for key in one if key.split("|")[0] in ran} for one in (before, after))
    differ = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    pictures = [key for key in differ if key.endswith(":picture")]
    numbers = sum(len(re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", value)) for value in before.values())
    print(f"{len(before):,} entries with {numbers:,} numbers; {len(differ)} differ, {len(pictures)} of them pictures")
    for key in [key for key in differ if key not in pictures or "pictures" in paths]:
        print(f"{key}\n  - {before.get(key)}\n  + {after.get(key)}")


if __name__ == "__main__":
    main()
