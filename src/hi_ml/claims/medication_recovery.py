"""Do advanced medications go with a shorter stay, and with fewer readmissions?"""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT
from hi_ml.app.errors import Untestable
from hi_ml.claims.aggregates import UNIT, fill_cells, mean_table, moments_of, sizes_of, sums
from hi_ml.claims.chart import BARS, Chart
from hi_ml.claims.claim import Claim
from hi_ml.claims.distinct import DistinctAdmissions, among, commonest
from hi_ml.claims.finding import Draft, Estimand, Evidence
from hi_ml.claims.kinds import Asked, Columns, difference
from hi_ml.claims.patients import Patients, identify, identity_evidence, identity_table
from hi_ml.claims.requirements import has, large_levels, no_such_level, require_columns, require_declared, require_sizes
from hi_ml.claims.tails import Draws
from hi_ml.statistics.estimates import Integers, Margin
from hi_ml.statistics.linkage import IdentityRule
from hi_ml.statistics.means import one_way
from hi_ml.statistics.moments import Moments
from hi_ml.statistics.proportions import difference_of_shares
from hi_ml.statistics.regression import within_strata

SENTENCE = "Advanced medications go with a shorter stay and with fewer readmissions."
NOTE = (
    "Who gets which medication depends on how ill they are (confounding by indication), so no difference here says "
    "what a medication does."
)
WORDS = {"stay": "with a shorter stay", "readmission": "with fewer readmissions"}
KEY, ENDED = "advanced_medications", "death_or_transfer"
ARMS = ["discharges with other medications", "discharges with advanced medications"]


@dataclass(frozen=True, config=STRICT)
class MedicationRecovery:
    """What the finding is set to."""

    smallest_stay: PositiveFloat  # difference of mean stays that matters, in days
    smallest_readmission: PositiveFloat  # difference of readmission shares that matters, 0 to 1
    smallest_f: PositiveFloat  # Cohen's f between medications that matters, where none is declared advanced
    window: int  # days after discharge within which an admission is a readmission
    smallest_group: PositiveInt  # admissions or discharges needed of each group
    identity_value: float  # what the lower limit of the names' predictive value must reach
    identity_pairs: int  # compatible same-name pairs needed
    resamples: PositiveInt  # of the names
    permutations: PositiveInt  # of the patients, where stays have tails too heavy for a t interval


def medication_recovery(admissions: DistinctAdmissions, settings: MedicationRecovery) -> Draft:
    """Draft the finding: parts `stay` and `readmission`, both of which must hold.

    Parameters
    ----------
    admissions : DistinctAdmissions
        Needs `medication`, with `length_of_stay`, and with patients and dates; stays whose `disposition` is declared to
        be death or transfer are followed by no readmission.
    """
    admissions = admissions.by("medication")
    rows = admissions.take("medication", "length_of_stay", "condition")
    rule = IdentityRule(settings.identity_value, settings.identity_pairs, settings.resamples)
    patients = identify(admissions, rule)
    parts = [
        ("stay", partial(_stay, admissions, settings)),
        ("readmission", partial(_readmission, admissions, patients, settings)),
    ]
    draft = Draft.of(
        SENTENCE, "all", parts, notes=[NOTE, patients.words], words=WORDS, around="Advanced medications go {}."
    )
    if any(part.part == "readmission" for part in draft.parts):
        draft = dataclasses.replace(draft, notes=(*draft.notes, _on_deaths(admissions)))
    tables: dict[str, pd.DataFrame] = {}
    facts: dict[str, Any] = {}
    if has(rows, "medication", "length_of_stay"):
        tables["stay_by_medication"] = mean_table(sums(rows, ["medication"], "length_of_stay"))
        large = large_levels(rows, "medication", settings.smallest_group)
        draft = draft.also(*_between_medications(large, settings.smallest_f))
    if patients.identity:
        tables["identity"] = identity_table(patients.rows, patients.identity)
        facts["pairs"] = patients.identity.same_name.pairs
        draft = draft.also(*identity_evidence(patients.identity))
    return dataclasses.replace(draft.in_units(admissions.units), tables=tables, facts=facts)


def _on_deaths(admissions: DistinctAdmissions) -> str:
    """Say whether a stay that ended in death or transfer counts as one that nobody returned from."""
    words = admissions.declarations.get(ENDED, ())
    disposition = has(admissions.take("disposition"), "disposition")
    if disposition and words:
        return f"Stays that ended as {', '.join(words)} are not followed: nobody returns from them."
    lacking = (
        f"no words of the column for disposition are declared: set declarations.{ENDED}"
        if disposition
        else "the table has no column for disposition: set columns.disposition.from"
    )
    return f"Stays that ended in death or transfer count as not readmitted, since {lacking}."


def _arms(marked: pd.DataFrame, value: str, smallest: int) -> Moments:
    """Count and sum a value by whether the medication is declared advanced, the other ones first."""
    groups = moments_of(sums(marked, ["advanced"], value), pd.Index([False, True], name="advanced"))
    require_sizes(groups, ARMS, smallest)
    return groups


def _marked(rows: pd.DataFrame, admissions: DistinctAdmissions) -> pd.DataFrame:
    complete = rows[rows["medication"].notna()]
    return complete.assign(advanced=among(complete["medication"], admissions.declarations.get(KEY, ())))


def _require_advanced(admissions: DistinctAdmissions) -> None:
    """Ask for what says which medications are advanced."""
    rows = admissions.take("medication")
    require_columns(rows, "medication")
    declared = admissions.declarations.get(KEY, ())
    require_declared(declared, "no column and no declaration says which medications are advanced", KEY)
    if not among(rows["medication"], declared).any():
        raise no_such_level("medication", declared, sizes_of(rows["medication"], rows), KEY)


def _stay(admissions: DistinctAdmissions, settings: MedicationRecovery) -> Iterator[Evidence]:
    _require_advanced(admissions)
    rows = admissions.take("medication", "length_of_stay")
    require_columns(rows, "length_of_stay")
    marked = _marked(rows, admissions)
    estimand = Estimand("stay", "mean stay with other medications less that with advanced ones", "days")
    asked = Asked(estimand, Margin(settings.smallest_stay), settings.smallest_group, "the length of stay")
    draws = Draws(settings.permutations, admissions.rng("stay"))
    yield difference(marked, Columns("length_of_stay", "advanced"), asked, draws, names=ARMS, first=False)


def _readmission(
    admissions: DistinctAdmissions, patients: Patients, settings: MedicationRecovery
) -> Iterator[Evidence]:
    if patients.code is None:
        clause = patients.words[:1].lower() + patients.words[1:].rstrip(".")
        raise Untestable("NO_PATIENT_ID", clause, "columns.patient_id.from")
    _require_advanced(admissions)
    require_columns(patients.rows, "admitted_on", "discharged_on")
    ended = _ended(patients.rows, admissions.declarations.get(ENDED, ()))
    stays = _marked(index_discharges(patients.rows, patients.code, settings.window, ended=ended), admissions)
    if UNIT not in stays:
        stays = stays.assign(**{UNIT: stays["patient"]})
    arms = _arms(stays, "readmitted", settings.smallest_group)
    effect = difference_of_shares(arms, margin=Margin(settings.smallest_readmission))
    words = (
        f"share of discharges followed by an admission within {settings.window} days, other medications less advanced"
    )
    yield Evidence.of_effect(
        Estimand("readmission", words, "share of discharges"),
        effect,
        settings.smallest_readmission,
        claims_positive=True,
        detail={
            "design_effect": effect.design_effect,
            "share_other": float(arms.mean[0]),
            "share_advanced": float(arms.mean[1]),
        },
    )


def _ended(rows: pd.DataFrame, words: Sequence[str]) -> NDArray[np.bool_]:
    """Mark the stays that ended in a way declared to be death or transfer."""
    if not has(rows, "disposition"):
        return np.zeros(len(rows), dtype=np.bool_)
    return among(rows["disposition"], words).to_numpy()


def index_discharges(
    rows: pd.DataFrame, patients: Integers, window: int, ended: NDArray[np.bool_] | None = None
) -> pd.DataFrame:
    """Follow each discharge of a known patient for a window of days.

    Discharges whose window reaches beyond the last admission of the table are left out: their readmission could not
    have been seen; and so are stays from which nobody returns, though they may be returns themselves.

    Parameters
    ----------
    rows : DataFrame
        One row per admission, with `admitted_on` and `discharged_on`.
    patients : ndarray of int64, shape (n,)
        Number of the patient; -1 where unknown.
    window : int
        Days after discharge.
    ended : ndarray of bool, shape (n,), optional
        Stays that ended in death or transfer.

    Returns
    -------
    DataFrame
        The rows that can be followed, with `patient` (int) and `readmitted` (bool): another admission of the patient
        began 0 to `window` days after the discharge.
    """
    complete = rows["admitted_on"].notna() & (rows["discharged_on"] >= rows["admitted_on"]) & (patients >= 0)
    stays = rows.assign(ended=False if ended is None else ended)[complete]
    stays = stays.assign(patient=pd.factorize(patients[complete.to_numpy()])[0])
    stays = stays.sort_values(["patient", "admitted_on"], kind="stable")
    followed = stays["discharged_on"] + pd.Timedelta(days=window) <= rows["admitted_on"].max()
    marked: pd.DataFrame = stays.assign(readmitted=_readmitted(stays, window))[followed & ~stays["ended"]]
    return marked.drop(columns="ended")


def _readmitted(stays: pd.DataFrame, window: int) -> NDArray[np.bool_]:
    """Look up, in stays sorted by patient and admission, the first that begins at or after each discharge."""
    patient = stays["patient"].to_numpy(dtype=np.int64)
    start, end = (
        (stays[name] - stays["admitted_on"].min()).dt.days.to_numpy(dtype=np.int64)
        for name in ("admitted_on", "discharged_on")
    )
    apart = int(end.max(initial=0)) + window + 1
    admitted, discharged = patient * apart + start, patient * apart + end
    next_row = np.arange(1, admitted.size + 1)
    following = np.maximum(np.searchsorted(admitted, discharged, side="left"), next_row)
    reached = np.append(admitted, np.iinfo(np.int64).max)[following]
    within: NDArray[np.bool_] = reached <= discharged + window
    return within


def _between_medications(rows: pd.DataFrame, smallest: float) -> Iterator[Evidence]:
    """Compare the stays of all medications, overall and within conditions.

    It answers no claim about advanced medications, and stands in where none is declared: exploratory.
    """
    words, unit = "spread of the mean stays of medications over the spread of stays", "Cohen's f"
    groups, margin = moments_of(sums(rows, ["medication"], "length_of_stay")), Margin(smallest)
    if groups.n.size > 1 and groups.within.all():
        estimand = Estimand("any medication", words, unit)
        yield Evidence.of_effect(estimand, one_way(groups, margin=margin), smallest, role="exploratory")
    if has(rows, "condition"):
        pooled = rows.assign(medication=commonest(rows, "medication"))
        table = sums(pooled, ["condition", "medication"], "length_of_stay")
        cells = fill_cells(table, ["medication"]).index
        effect = within_strata(moments_of(table, cells), cells.get_level_values("medication").nunique(), margin=margin)
        if effect:
            estimand = Estimand("any medication (within conditions)", f"{words}, within conditions", unit)
            yield Evidence.of_effect(estimand, effect, smallest, role="exploratory")


CLAIM = Claim(
    name="medication_recovery",
    settings=MedicationRecovery,
    draft=medication_recovery,
    position=4,
    charts=(
        Chart(
            name="stays",
            kind="means",
            table="stay_by_medication",
            shows="Bar chart: mean stay by medication",
            note=f"{BARS}, each medication on its own.",
            options={"group": "medication", "measure": ("Mean length of stay", "days")},
        ),
        Chart(
            name="names",
            kind="agreement",
            table="identity",
            shows="Bar chart: agreement of admissions of one name",
            note="A name stands for a person where its admissions agree more often than chance.",
            count="pairs",
            noun="pairs of admissions of one name",
        ),
    ),
)
