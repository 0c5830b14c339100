"""What is written and said of a frozen model on another table: its files, its page, the screen."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_ml.app.launch import Invocation
from hi_ml.app.text import counted, number, percent, short
from hi_ml.data.read import Admissions
from hi_ml.evaluation.judgement import scores
from hi_ml.evaluation.transport import SHIFTED, STAGES, WORDS, AtHome, Margins, Transport, measures
from hi_ml.modeling.scores.score import Baseline, is_worse, title
from hi_ml.prediction.drift import alarms
from hi_ml.prediction.external import Elsewhere
from hi_ml.prediction.load import LoadedModel
from hi_ml.reports import page
from hi_ml.reports.charts import predictions
from hi_ml.reports.charts.forests import transported
from hi_ml.reports.drawing import caption, save
from hi_ml.reports.model import Section, Table
from hi_ml.reports.provenance import of_table, provenance
from hi_ml.reports.screen import wrapped
from hi_ml.statistics import curves
from hi_ml.statistics.disclosure import Disclosure
from hi_ml.tracking.folder import RunFolder
from hi_ml.tracking.leaving import mask_few

ANSWERS = {  # to the question whether the model may be used there, by verdict
    "transports": ("✓", "Yes: it is as good and as well calibrated here as on its own test part."),
    "needs_recalibration": ("≈", "Not as it is: recalibrated here, it is as good as on its own test part."),
    "does_not_transport": ("✗", "No: it is worse here than on its own test part, recalibrated or not."),
    "inconclusive": ("?", "Not known: the two tables cannot tell."),
}
_SHOWS = "Skill, intercept and slope here, with 95 % intervals, beside those of the model's own test part"
_CHART = "transport"
_UNSEEN = 0.01  # share of a column's cells at levels unknown to the model from which on the screen says so
_LIMITS = (
    "It holds for this table and this fitted model. Another year here may differ: validate it again.",
    "Intervals are by patient; what the two tables have in common beside patients is not known.",
    "A recalibration that is tried here is no part of the model: its file is unchanged.",
    "hi_ml is not a medical device. Decisions stay with people.",
)


@dataclass(frozen=True)
class Validation:
    """A frozen model on another table, and what came of it."""

    model: LoadedModel
    home: AtHome
    admissions: Admissions
    elsewhere: Elsewhere
    result: Transport
    margins: Margins
    smallest_cell: int  # patients, of whom it may speak

    @property
    def place(self) -> str:
        """The name of the other table."""
        return self.admissions.dataset.name

    def scores(self) -> pd.DataFrame:
        """Score here, beside home, the model's own constant and the best one here; coverage has the level beside."""
        here, home = self.elsewhere.predictions, self.home
        own = Baseline.of(here.task, here.target, votes=here.units.votes, classes=len(home.labels))
        table = scores(here, home.baseline, smallest=self.smallest_cell).rename(columns={"baseline": "frozen_constant"})
        table["own_constant"] = scores(here, own, smallest=self.smallest_cell)["baseline"]
        table = pd.concat([table.drop(columns="part"), self._coverage()], ignore_index=True)
        before = pd.DataFrame(home.scores, columns=["score", "value", "low", "high"]).set_index("score")
        before = before.add_prefix("home_").rename(columns={"home_value": "home"})
        return table.join(before.astype(float), on="score")

    def _coverage(self) -> pd.DataFrame:
        covered, size, units = self.elsewhere.covered, self.elsewhere.size, self.elsewhere.predictions.units
        if covered is None or size is None:
            return pd.DataFrame()
        name, unit = ("set_size", "labels") if self.home.labels else ("width", self.home.task.unit)
        lines = {"coverage": (units.ratio(covered), "share"), name: (units.ratio(size), unit)}
        return pd.DataFrame(
            [(score, one.value, one.low, one.high, unit) for score, (one, unit) in lines.items()],
            columns=["score", "value", "low", "high", "unit"],
        )

    def flow(self) -> dict[str, int]:
        """Count the rows from the file to what was judged."""
        admissions, units = self.admissions, self.elsewhere.predictions.units
        out = admissions.left_out
        return {
            "rows_read": admissions.counts["rows_read"],
            "rows_rejected": admissions.counts["rows_rejected"],
            "rows_left_out": 0 if out is None else len(out.step),
            "rows_without_target": len(admissions.row) - len(self.elsewhere.predictions.target),
            "rows_judged": len(self.elsewhere.predictions.target),
            "n_admissions": units.admissions,
            "n_groups": len(units),
        }

    def content(self) -> dict[str, Any]:
        """Lay out for ``validation.json``."""
        result, model = self.result, self.model
        interval = model.scorer.mapping.get("interval")
        return {
            "verdict": result.verdict,
            "reason": result.reason,
            "n_needed": result.n_needed,
            "sentence": result.sentence,
            "model_uri": model.uri,
            "model": {"name": model.name, "version": model.version, "run_id": model.run_id},
            "model_sha256": model.sha256,
            "model_verdict": self.home.verdict or model.verdict,
            "home_dataset": self.home.dataset,
            "home_n_admissions": self.home.admissions,
            "home_n_groups": self.home.patients,
            "margins": asdict(self.margins),
            "recalibration": result.recalibration,
            "skill_over_frozen_constant": self._over_frozen(),
            "interval_level": interval["level"] if interval else None,
            "coverage": self.reached(),
            "unseen": self.elsewhere.unseen,
            "notes": list(self.elsewhere.notes),
            **self.flow(),
        }

    def _over_frozen(self) -> dict[str, float] | None:
        over = next(measures(self.elsewhere.predictions, self.home.baseline, self.home.labels), None)
        return {"value": over.value, "low": over.low, "high": over.high} if over and over.measure == "skill" else None

    def reached(self) -> str:
        """Say how often intervals, or sets of labels, hold the truth here; empty where the model makes none."""
        coverage = self._coverage()
        if coverage.empty:
            return ""
        one, size = coverage.to_dict("records")
        what = "Label sets hold" if self.home.labels else "Intervals hold"
        level = self.model.scorer.mapping["interval"]["level"]
        return (
            f"{what} {percent(one['value'])} % of the truths here (95 % interval {percent(one['low'])} to "
            f"{percent(one['high'])}), where {100 * level:g} % are promised, with {number(size['value'], digits=3)} "
            f"{size['unit']}."
        )

    def shift(self) -> pd.DataFrame:
        """List how far each column has moved from training."""
        return pd.DataFrame([{"column": name} | one for name, one in self.elsewhere.drift.items()])


def write(validation: Validation, folder: RunFolder, *, here: Invocation, started: float) -> None:
    """Write every file of a validation.

    Raises
    ------
    PrivateValueFound
        If a private word stands in one.
    """
    home, elsewhere, admissions = validation.home, validation.elsewhere, validation.admissions
    table, content = validation.scores(), validation.content()
    folder.write(config=here.config, overrides=here.overrides, validation=content, scores=table)
    folder.write(
        transport=validation.result.table,
        crosswalk=elsewhere.crosswalk,
        timings={"total": round(time.time() - started, 3)},
    )
    if elsewhere.drift:
        folder.write(shift=validation.shift())
    units = elsewhere.predictions.units
    note = f"{validation.place}; 95 % intervals over {units.noun}. Grey: within the margins of its own test part."
    drawn = validation.result.table[validation.result.table["value"].notna()]
    pictures: dict[str, list[tuple[str, Path]]] = {"good": [], "sure": []}
    if len(drawn):
        figure = transported(drawn, title=_headline(validation), caption=caption(units.admissions, note))
        pictures["good"].append((_SHOWS, save(figure, drawn, folder.charts / _CHART)[0]))
    for shows, name, figure, drawn in _observed(validation):
        pictures["sure"].append((shows, save(figure, drawn, folder.charts / name)[0]))
    facts = {
        **of_table(admissions),
        "task": home.task.name,
        "model": home.model,
        "unit": home.task.unit,
        "horizon": home.task.horizon,
        "rows": len(elsewhere.predictions.target),
    }
    about = provenance(here, facts, started=started)
    summary = _summary(validation, table)
    folder.write(run=about, data=admissions.provenance())
    folder.write(report=page.render(summary, pictures, template=page.MODEL))
    admissions.private_words().refuse(folder.path)


def _observed(validation: Validation) -> Iterator[tuple[str, str, Figure, pd.DataFrame]]:
    """Draw what occurred here by what was predicted, unless so few patients are here that no cell may be shown."""
    here, home, smallest = validation.elsewhere.predictions, validation.home, validation.smallest_cell
    name, place, rule = home.task.name.replace("_", " "), validation.place, Disclosure(here.units.unit, smallest)
    note = f"{place}; near-copies of an admission count as one, cells of fewer than {smallest} patients are not shown."
    count, votes = here.units.admissions, here.units.votes
    if home.labels:
        occurred = np.array(home.labels, dtype=object)[here.target.astype(int)]
        table = curves.reliability_table(occurred, here.predicted, votes, labels=home.labels, rule=rule)
        shows = f"How often each class of {name} occurs on {place}, by its predicted probability"
        words = caption(count, f"{note} Grey: 95 % consistency band of probabilities that are right.")
        if len(table):
            yield shows, "reliability", predictions.reliability(table, title=shows, caption=words), table
        return
    table = curves.predicted_observed_table(here.target, here.predicted, votes, rule=rule)
    shows = f"Which {name} was observed on {place}, by what was predicted"
    words, unit = caption(count, f"{note} Band: central 80 %."), home.task.unit
    if (table["layer"] == "cell").any():
        drawn = predictions.predicted_observed(table, title=shows, caption=words, unit=unit)
        yield shows, "predicted_observed", drawn, table


def _headline(validation: Validation) -> str:
    result = validation.result
    shows = f"Skill, intercept and slope on {validation.place}, and at home"
    return f"{shows}\n{validation.home.task.title}: {_words(result.verdict)}, {WORDS[result.verdict]}"


def _words(verdict: str) -> str:
    return verdict.replace("_", " ")


def _summary(validation: Validation, table: pd.DataFrame) -> dict[str, Any]:
    result, home = validation.result, validation.home
    sign, answer = ANSWERS[result.verdict]
    name = home.task.title
    return {
        "title": f"{name[:1].upper()}{name[1:]}: does the model hold on {validation.place}?",
        "about": f"{home.model}, trained on {home.dataset} and frozen, predicts {name} at {home.task.horizon}.",
        "verdict": result.verdict,
        "words": _words(result.verdict) + (f": {result.reason}" if result.reason else ""),
        "sign": sign,
        "answer": answer,
        "sentence": result.sentence,
        "sections": list(_sections(validation, table)),
        "tripod": [],
    }


def _sections(validation: Validation, table: pd.DataFrame) -> Iterator[Section]:
    home, elsewhere, units = validation.home, validation.elsewhere, validation.elsewhere.predictions.units
    counted = (
        f"Of {units.admissions:,} admissions of {len(units):,} patients, or admissions where nobody comes again; "
        f"beside them those of the {home.admissions:,} of the model's own test part on {home.dataset}. The frozen "
        f"constant is that of the model's training rows, the own one the best constant here."
    )
    yield Section("good", "Is it as good here?", [*elsewhere.notes, counted], _scores(table))
    words = [_mending(validation), *filter(None, [validation.reached()])]
    yield Section("sure", "Are its predictions right here?", words, _measures(validation.result.table))
    yield _fits(validation)
    yield Section("flow", "Which rows were used", [], _flow(validation), folded=True)
    yield Section("made", "How it was made", [], _made(validation), folded=True)
    yield Section("limits", "Limits", list(_LIMITS), folded=True)


def _reach(row: Any, *, name: str = "") -> str:
    low, high = row[f"{name}low"], row[f"{name}high"]
    return "too few to tell" if pd.isna(low) else f"{number(low)} to {number(high)}"


def _scores(table: pd.DataFrame) -> Table:
    rows, marked = [], []
    for row in table.to_dict("records"):
        before = "" if pd.isna(row["home"]) else f"{number(row['home'])} ({_reach(row, name='home_')})"
        own = row["own_constant"]
        marked.append(not pd.isna(own) and is_worse(row["score"], row["value"], own))
        constants = [number(row["frozen_constant"]), number(own)]
        rows.append([title(row["score"]), number(row["value"]), _reach(row), before, *constants, row["unit"]])
    head = ["Score", "Here", "95 % interval", "At home (95 % interval)", "Frozen constant", "Own constant", "Unit"]
    return Table(head, rows, marked, file="scores.csv", mark="no better than the best constant here")


def _measures(table: pd.DataFrame) -> Table:
    rows = []
    for row in table.to_dict("records"):
        label = f", {row['class']}" if row["class"] else ""
        unit = f" ({row['unit']})" if row["unit"] else ""
        here = "not estimable" if pd.isna(row["value"]) else f"{short(row['value'])} ({_short_reach(row)})"
        rows.append([
            f"{row['measure']}{label}{unit}, {row['stage']}",
            here,
            f"{short(row['home'])} ({_short_reach(row, 'home_')})",
            f"{short(row['margin'])}",
            row["state"],
        ])  # fmt: skip
    marked = [row[-1] == SHIFTED for row in rows]
    first = sum(table["stage"] == STAGES[0])
    head = ["Measure", "Here (95 % interval)", "At home (95 % interval)", "What matters", "Against home"]
    return Table(head, rows[:first], marked, rows[first:], "transport.csv", mark="shifted from home by what matters")


def _short_reach(row: Any, name: str = "") -> str:
    return f"{short(row[f'{name}low'])} to {short(row[f'{name}high'])}"


def _mending(validation: Validation) -> str:
    said = []
    for stage, how in validation.result.recalibration.items():
        steps = how.get("intercepts", {"": how.get("intercept", 0.0)})
        listed = ", ".join(f"{f'{label} ' if label else ''}{short(value)}" for label, value in steps.items())
        slope = f", slope {short(how['slope'])}" if stage == STAGES[2] else ""
        said.append(f"{stage}: intercept {listed}{slope}")
    unit = "log-odds" if validation.home.labels else validation.home.task.unit
    return f"What would mend its predictions here, in {unit}, {'; '.join(said)}. Each was tried on other patients."


def _fits(validation: Validation) -> Section:
    elsewhere = validation.elsewhere
    moved = alarms(elsewhere.drift) if elsewhere.drift else []
    calm = "No column has moved by what matters." if elsewhere.drift else "Shifts of columns were not measured."
    words = moved or [calm]
    rows, marked = [], []
    for role, share in elsewhere.unseen.items():
        walk = elsewhere.crosswalk[elsewhere.crosswalk["column"] == role]
        strange = walk[walk["level_of_model"].isna()]
        named = ", ".join(f"{row['level']} ({row['n']:,})" for row in strange.head(5).to_dict("records"))
        more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""  # noqa: PLR2004 -- as above
        rows.append([role.replace("_", " "), f"{len(walk):,}", f"{percent(share)} %", named + more])
        marked.append(share > _UNSEEN)
    head = ["Column", "Levels here", "Rows at levels unknown to the model", "Which"]
    mark = f"more than {_UNSEEN:.0%} of the rows stand at levels unknown to the model".replace("%", " %")
    table = Table(head, rows, marked, file="crosswalk.csv", mark=mark) if rows else None
    return Section("fits", "Does the table look like the model's own?", words, table)


def _flow(validation: Validation) -> Table:
    flow = mask_few(validation.flow(), validation.smallest_cell)
    names = {
        "rows_read": "rows read",
        "rows_rejected": "set aside: a cell could not be read or believed",
        "rows_left_out": "left out by rules of the dataset",
        "rows_without_target": "without the target",
        "rows_judged": "judged",
        "n_admissions": "admissions among them, copies counted once",
        "n_groups": "patients, or admissions where nobody comes again",
    }
    return Table(
        ["What", "Rows"], [[words, counted(flow[name])] for name, words in names.items()], file="validation.json"
    )


def _made(validation: Validation) -> Table:
    home, model, margins = validation.home, validation.model, validation.margins
    rows = [
        ["model", f"{home.model}, {model.uri}, SHA-256 {model.sha256[:12]}; unchanged"],
        ["its verdict at home", (home.verdict or model.verdict).replace("_", " ")],
        ["table", f"{validation.place}, SHA-256 {validation.admissions.sha256[:12]}"],
        ["margins", ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in asdict(margins).items())],
        ["patients told apart by", validation.admissions.identity],
    ]
    return Table(["What", "Value"], rows, file="run.json")


def screen(validation: Validation, folder: Path) -> str:
    """Write what the screen says, as lines of text."""
    elsewhere, result, home = validation.elsewhere, validation.result, validation.home
    strange = [f"{role} {percent(share)} %" for role, share in elsewhere.unseen.items() if share > _UNSEEN]
    lines = [
        "",
        f"{home.task.title} on {validation.place}, {home.model}: {_words(result.verdict).upper()}",
        result.sentence,
        *filter(None, [validation.reached()]),
        *elsewhere.notes,
        *([f"Rows at levels unknown to the model: {', '.join(strange)} (crosswalk.csv)."] if strange else []),
        *(f"Shift: {line}" for line in (alarms(elsewhere.drift) if elsewhere.drift else [])),
        f"Run folder: {folder} (its page: report.html)",
        "",
    ]
    return "\n".join(map(wrapped, lines))
