"""The run folder of a trained task becomes one plain dict: every text and number of its page, ready to be read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hi_ml.app.errors import RunFolderInvalid
from hi_ml.app.manual import glossary
from hi_ml.app.text import counted, number, short, signed_interval
from hi_ml.evaluation import calibration
from hi_ml.evaluation.coverage import SCORES
from hi_ml.evaluation.subgroups import DIFFERENT
from hi_ml.modeling.scores.score import is_worse, title
from hi_ml.reports import page, tripod
from hi_ml.reports.provenance import tables_in_words
from hi_ml.statistics.disclosure import few_in_words
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.leaving import mask_few, smallest_cell

ANSWERS = {  # to the question whether the model is any good, by verdict
    "signal": ("✓", "Yes: it is better than knowing nothing, by an amount that matters."),
    "negligible": ("≈", "Hardly: it is better than knowing nothing, by less than matters."),
    "no_signal": ("✗", "No: it is not better than knowing nothing by an amount that matters."),
    "worse": ("✗", "No: it is worse than knowing nothing."),
    "inconclusive": ("?", "Not known: this table cannot tell."),
}
_PICTURES = {  # of each section: what a chart shows, for readers who cannot see it, and its place in the run folder
    "good": [("Each score of the model with its 95 % interval, beside that of the constant", "charts/scores.png")],
    "leak": [("What a random split would add to the score, with 95 % intervals", "charts/leakage.png")],
    "whom": [("How much larger the errors of each group are than those of the rest", "charts/subgroups.png")],
    "drives": [
        ("How much each column moves a prediction on average", "explanation/importance.png"),
        ("What each value of the main columns adds to a prediction", "explanation/dependence.png"),
    ],
    "elsewhere": [("Skill in each place that was left out, with 95 % intervals", "charts/holdout.png")],
    "changes": [("Net benefit of acting on the predictions, by threshold", "charts/net_benefit.png")],
    "sure": [
        ("How often the intervals, or sets of labels, hold the truth, and their size", "charts/intervals.png"),
        ("Predicted and observed amounts", "charts/predicted_observed.png"),
        ("Predicted and observed shares of each class", "charts/reliability.png"),
    ],
    "look": [("Admissions a month, ages and missing values", "charts/first_look.png")],
}
_SHOWN = 12  # groups, and levels of a column, before the rest folds or is left to the file
_DRIVERS = 4  # columns whose levels are shown
_MOST_LEVELS = 18  # lines of them before the rest folds
_TOLD_APART = {
    "patient_id": "their number",
    "linkable": "their names, which prove to stand for persons",
    "partial": "nothing: equal names are one person too rarely",
    "no_identity": "nothing: equal names are chance",
    "untested": "nothing: a column for the test of names is absent",
}
_LIMITS = (
    "It describes this table. Another hospital, or another year, may differ: validate it there before it is used.",
    "Contributions say what the model uses, not what causes the outcome.",
    "The interval of a score is of this fitted model on this split; another split would give another model.",
    "hi_ml is not a medical device. Decisions stay with people.",
)


@dataclass(frozen=True)
class Table:
    """Rows of a table of the page; the first column names the row."""

    head: list[str]
    rows: list[list[str]]
    marked: list[bool] = field(default_factory=list)  # rows that a reader should see first
    rest: list[list[str]] = field(default_factory=list)  # folded
    file: str = ""  # where all numbers stand
    bars: list[float] = field(default_factory=list)  # of each row, how long a bar is drawn below its name, in per cent
    mark: str = ""  # what is true of a marked row

    @property
    def words(self) -> list[int]:
        """Columns that hold words rather than numbers."""
        return [
            k
            for k, cells in enumerate(zip(*self.rows, strict=True))
            if sum(one[:1].isalpha() for one in cells) * 2 > sum(map(bool, cells))
        ]


@dataclass(frozen=True)
class Section:
    """A question that the page answers."""

    id: str
    title: str
    words: list[str]  # sentences, each a paragraph
    table: Table | None = None
    folded: bool = False


def write(run: RunFolder, folder: RunFolder, stated: Mapping[str, str | None]) -> None:
    """Write the page of a run, and the checklist for reports beside it.

    Parameters
    ----------
    folder : RunFolder
        Where to: that of the run, or another.
    stated : mapping of str to str or None
        What a person says, by item of the checklist.

    Raises
    ------
    RunFolderInvalid
        If a file that every run has is absent or damaged.
    """
    try:
        summary = summarize(run)
        items = tripod.items(summary.pop("facts"), stated)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderInvalid.of(run.path, "files as this version writes them") from error
    summary |= {"tripod": items, "stated": sum(item["source"] != tripod.NOT_STATED for item in items)}
    pictures = {
        section: [(alt, run.path / path) for alt, path in charts if _shows_all(run.path / path)]
        for section, charts in _PICTURES.items()
        if section != "drives" or _moves(run)
    }
    folder.write(tripod=items, report=page.render(summary, pictures, template=page.MODEL))


def _moves(run: RunFolder) -> bool:
    """Whether any column moves a prediction: bars of nothing are no picture."""
    path = run.explanation / "importance.csv"
    return path.is_file() and bool(run.content(path)["importance"].any())


def _shows_all(picture: Path) -> bool:
    """Whether there is such a picture, and it is not one of several, of a class each."""
    return picture.is_file() and not picture.with_stem(f"{picture.stem}_2").is_file()


def summarize(folder: RunFolder) -> dict[str, Any]:
    """Collect what the page says, from the files of a run."""
    smallest = smallest_cell(folder)
    verdict, (run, data) = folder.load("verdict"), (mask_few(folder.load(name), smallest) for name in ("run", "data"))
    sign, answer = ANSWERS.get(verdict["verdict"], ANSWERS["inconclusive"])
    measures = ", ".join(title(score) for score in folder.load("scores")["score"])
    facts = {"run": run, "verdict": verdict, "data": data, "leakage": folder.load("leakage")}
    name = run["task"].replace("_", " ")
    return {
        "title": f"{name[:1].upper()}{name[1:]}: is the model any good?",
        "about": (
            f"{run['model']} predicts {name} at {run['horizon']}, from {len(data['used'])} columns of {run['dataset']}."
        ),
        "verdict": verdict["verdict"],
        "words": verdict["verdict"].replace("_", " ") + (f": {verdict['reason']}" if verdict["reason"] else ""),
        "sign": sign,
        "answer": answer,
        "sentence": f"{_plain(folder.load('scores'))} {verdict['sentence']}".strip(),
        "sections": list(_sections(folder, run, data)),
        "facts": facts | {"answer": answer, "measures": measures},
    }


def _plain(scores: pd.DataFrame) -> str:
    """Say the score that everyone understands, beside that of who knows nothing."""
    by_name = {row["score"]: row for row in scores.to_dict("records")}
    if row := by_name.get("mae"):
        value, nothing = (number(row[name], digits=3) for name in ("value", "baseline"))
        return f"On average it is off by {value} {row['unit']}; the same guess for everybody, by {nothing}."
    if scores["score"].iloc[0] == "roc_auc":
        value = 100 * by_name["roc_auc"]["value"]
        return f"Of one who has it and one who has not, it tells which in {value:.0f} of 100 pairs; chance, in 50."
    if row := by_name.get("accuracy"):
        value, nothing = (f"{100 * row[name]:.1f}" for name in ("value", "baseline"))
        return f"It names the right class for {value} of 100 admissions; the commonest class for all, for {nothing}."
    return ""


def _sections(folder: RunFolder, run: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[Section]:
    said, scores = run["sentences"], folder.load("scores")
    yield Section("good", "How good is it?", [_counted(folder.load("verdict"))], _scores(scores))
    yield Section("leak", "What a careless split would have claimed", [*_words(said, "leakage"), _WHY_NOT])
    yield _whom(folder, said, [note for note in run.get("notes", ()) if note.startswith("Subgroups of")])
    yield _drives(folder, run)
    if words := _words(said, "usefulness") or _UNSAID[run["kind"]]:
        yield Section("changes", "What would it change?", words)
    if words := _words(said, "holdout"):
        yield Section("elsewhere", "Would it hold where it was not taught?", words, _places(folder))
    right = [calibration.plain(folder.load("calibration"))] if folder.keeps("calibration") else []
    yield Section("sure", "How sure is it?", [*_words(said, "intervals"), *right, *_words(said, "repeats")])
    if words := [words for name, words in said.items() if words and name not in _SAID_IN_SECTIONS]:
        yield Section("asked", "What else was asked?", words)
    if folder.keeps("first_look"):
        yield Section("look", "What does the table hold?", _words(said, "first_look"))
    yield Section("flow", "Which rows were used", _words(said, "attrition"), _flow(folder, run, data), folded=True)
    yield Section("made", "How it was made", list(run["notes"]), _made(run, data), folded=True)
    yield Section("probes", "What was checked", [], _probes(folder), folded=True)
    yield Section("limits", "Limits", list(_LIMITS), folded=True)
    meanings = Table(["Word", "Meaning"], [list(pair) for pair in glossary().items()])
    yield Section("words", "What the words mean", [], meanings, folded=True)


_SAID_IN_SECTIONS = {  # by assessments, each in a section of its own or at the head of the page
    "verdict", "leakage", "subgroups", "usefulness", "holdout", "intervals", "calibration", "repeats", "first_look",
    "attrition",
}  # fmt: skip
_UNSAID = {  # of what a model would change
    "regression": [],
    "classification": [
        "Not said: the task names no shares of a class from which one would act (thresholds: [0.1, 0.2] in its YAML)."
    ],
}
_WHY_NOT = (
    "This does not count: rows that a model has seen, or other rows of a patient it has seen, say nothing of patients "
    "it will meet. The scores above are of a split that keeps them together."
)


def _words(said: Mapping[str, str], *names: str) -> list[str]:
    return [said[name] for name in names if said.get(name)]


_OF_ONE_FIT = " All are of predictions of the median; what the verdict says of the mean is of another fit."


def _counted(verdict: Mapping[str, Any]) -> str:
    return (
        f"Scores of {verdict['n_admissions']:,} admissions that the model has not seen"
        f"{f', of {patients:,} patients' if (patients := verdict['n_groups']) < verdict['n_admissions'] else ''}. The "
        f"baseline is the constant {verdict['constant']}: it knows nothing."
        f"{_OF_ONE_FIT * (verdict['constant'] == 'median')}"
    )


def _scores(scores: pd.DataFrame) -> Table:
    rows, marked = [], []
    for row in scores.to_dict("records"):
        marked.append(row["score"] not in SCORES and is_worse(row["score"], row["value"], row["baseline"]))
        reach = "too few to tell" if pd.isna(row["low"]) else f"{number(row['low'])} to {number(row['high'])}"
        rows.append([title(row["score"]), number(row["value"]), reach, number(row["baseline"]), row["unit"]])
    head = ["Score", "Value", "95 % interval", "Baseline", "Unit"]
    return Table(
        head,
        rows,
        marked,
        file="scores.csv",
        mark="worse than knowing nothing, or not shown to be better",
    )


def _whom(folder: RunFolder, said: Mapping[str, str], notes: Sequence[str]) -> Section:
    words = [*_words(said, "subgroups")] or ["No groups were compared."]
    table = folder.load("subgroups") if (folder.path / "subgroups.csv").is_file() else pd.DataFrame()
    if table.empty:
        return Section("whom", "For whom is it worse?", [*words, *notes])
    judged = table[table["difference_low"].notna()]
    calm, size = judged["verdict"] != DIFFERENT, -(judged["difference"] / judged["margin"]).abs()
    order = pd.DataFrame({"calm": calm, "control": calm & judged["control"], "size": size})
    worst = judged.loc[order.sort_values(["calm", "control", "size"]).index]
    rows = [_group(row) for row in worst.to_dict("records")]
    marked = [verdict == DIFFERENT for verdict in worst["verdict"]]
    count = max(sum(marked), min(_SHOWN, len(rows)))
    head = ["Group", "Score", "In the group", "Less the rest (95 % interval)", "Admissions", "Verdict"]
    shown = Table(head, rows[:count], marked, rows[count:], "subgroups.csv", mark="differs by what matters")
    return Section("whom", "For whom is it worse?", words, shown)


def _group(row: Mapping[Any, Any]) -> list[str]:
    name = f"{row['role'].replace('_', ' ')}: {row['level']}" + (" (negative control)" if row["control"] else "")
    difference, reach = signed_interval(row["difference"], row["difference_low"], row["difference_high"])
    score = title(row["score"]).replace("_", " ")
    return [name, score, number(row["value"]), f"{difference} ({reach})", f"{row['n']:,}", row["verdict"]]


def _drives(folder: RunFolder, run: Mapping[str, Any]) -> Section:
    path = folder.explanation / "importance.csv"
    if not path.is_file():
        return Section("drives", "What drives it?", ["Contributions were not computed."])
    importance = folder.content(path)
    first = importance.head(_DRIVERS)
    unit = str(first["unit"].iloc[0])
    named = ", ".join(
        f"{row['column'].replace('_', ' ')} ({short(row['importance'])})" for row in first.to_dict("records")
    )
    words = (
        ["Nothing: no column moves a prediction by as much as can be shown."]
        if not first["importance"].any()
        else [
            f"A prediction is moved most, on average, by {named}, in {unit}.",
            f"Over {run['explained_rows']:,} test rows, by {run['explanation']}.",
        ]
    )
    if folder.verdict("") in ("no_signal", "worse"):
        words.insert(0, "Nothing that counts: without a signal, what moves a prediction was taken for one by chance.")
    moved = [folder.content(file) for file in sorted(folder.explanation.glob("dependence*.csv"))]
    moved = [table.assign(**({} if "class" in table else {"class": "the prediction"})) for table in moved]
    rows, outputs = _levels(pd.concat(moved), list(first["column"])) if moved else ([], [])
    listed = {row[0].partition(": ")[0] for row in rows}
    left = [name for name in first["column"].str.replace("_", " ") if name not in listed]
    if left and moved and first["importance"].any():
        each = ", a picture for each class" if run["kind"] == "classification" else ""
        words.append(f"Drawn is how the values of {', '.join(left)} move it (explanation/dependence.png{each}).")
    single = len(outputs) == 1
    head = ["Level", f"Moves the prediction by ({unit})"] if single else [f"How a level moves it, in {unit}", *outputs]
    table = (
        Table([*head, "Admissions"], rows[:_MOST_LEVELS], rest=rows[_MOST_LEVELS:], file="explanation/")
        if rows
        else None
    )
    return Section("drives", "What drives it?", words, table)


def _levels(table: pd.DataFrame, columns: Iterable[str]) -> tuple[list[list[str]], list[str]]:
    """Say of the levels of the first columns by how much each moves each output, the median over its rows."""
    table = table[table["level"].notna() & table["q50"].notna() & table["column"].isin(columns)]
    outputs = list(dict.fromkeys(table["class"]))
    wide = table.pivot_table(index=["column", "level", "n"], columns="class", values="q50", sort=False).reset_index()
    wide = wide.dropna(subset=outputs)  # a column that few classes turn on has a chart of theirs alone
    rows = []
    for column in columns:
        levels = wide[wide["column"] == column].sort_values(outputs, ascending=False)
        for row in pd.concat([levels.head(_SHOWN // 2), levels.iloc[_SHOWN // 2 :].tail(_SHOWN // 2)]).to_dict(
            "records"
        ):
            moves = (short(row[output]) for output in outputs)
            rows.append([f"{column.replace('_', ' ')}: {row['level']}", *moves, f"{int(row['n']):,}"])
    return rows, outputs


def _places(folder: RunFolder) -> Table:
    rows, table = [], folder.load("holdout").fillna({"class": "", "note": ""})
    for row in table.sort_values("next_low", kind="stable").to_dict("records"):  # what sums up first
        name = row["measure"] + (f", {row['class']}" if row["class"] else "")
        reach = f"{number(row['low'])} to {number(row['high'])}" if not pd.isna(row["low"]) else str(row["note"])
        further = "" if pd.isna(row["next_low"]) else f"{number(row['next_low'])} to {number(row['next_high'])}"
        rows.append([str(row["level"]), name, number(row["value"]), reach, further, f"{row['n']:,}"])
    head = ["Place", "Measure", "Value", "95 % interval", "Further places", "Admissions"]
    return Table(head, rows[:_SHOWN], rest=rows[_SHOWN:], file="holdout.csv")


def _flow(folder: RunFolder, run: Mapping[str, Any], data: Mapping[str, Any]) -> Table:
    """Follow the rows from the source to the parts of the split."""
    steps = [("rows read", data["rows_read"]), ("− a cell could not be read or believed", data["rows_rejected"])]
    rules = folder.load("attrition").iloc[1:-1] if folder.keeps("attrition") else pd.DataFrame(columns=["step", "rows"])
    steps += [
        (f"− {step}", few_in_words(int(rows), smallest_cell(folder)))
        for step, rows in zip(rules["step"], rules["rows"], strict=True)
    ]
    unknown = data.get("rows_without_target")  # older runs do not say
    steps += [("− the target is missing, or one that few have", unknown)] if unknown else []
    steps += [("rows used", run["rows"]), *((f"{part} part", count) for part, count in run["parts"].items())]
    steps.append(("pairs of near-copies among all, which count once", data["duplicate_pairs"]))
    size = [count if isinstance(count, int) else 0 for _, count in steps]
    most = max(1, *size)
    rows = [[name, counted(count)] for name, count in steps]
    return Table(["What", "Rows"], rows, file="data.json", bars=[100 * count / most for count in size])


def _made(run: Mapping[str, Any], data: Mapping[str, Any]) -> Table:
    refused = ", ".join(f"{role.replace('_', ' ')} ({why})" for role, why in data["refused"].items())
    rows = [
        ["table", f"{run['dataset']}, SHA-256 {data['sha256'][:12]}"],
        *map(list, tables_in_words(data).items()),
        ["model", f"{run['model']}, seed {run['seed']}, {run['scale']} scale"],
        ["split", f"{run['split']}, SHA-256 {run['split_sha256'][:12]}"],
        ["columns used", ", ".join(role.replace("_", " ") for role in data["used"])],
        ["columns left out", refused],
        ["patients told apart by", _TOLD_APART.get(str(data["patients_told_apart_by"]), "")],
        ["code", f"{run['command']}, commit {run['git_commit'][:12]}"],
    ]
    return Table(["What", "Value"], rows, file="run.json")


def _probes(folder: RunFolder) -> Table | None:
    if not (folder.path / "probes.json").is_file():
        return None
    rows = [[one["name"], "passed" if one["passed"] else "FAILED", one["detail"]] for one in folder.load("probes")]
    marked = [not one["passed"] for one in folder.load("probes")]
    return Table(["Check", "Result", "What was seen"], rows, marked, file="probes.json", mark="failed")
