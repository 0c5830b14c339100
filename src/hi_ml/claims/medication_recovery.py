"""Do advanced medications go with a shorter stay, and with fewer readmissions?"""

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT
from hi_ml.app.errors import Untestable
from hi_ml.claims.aggregates import fill_cells, mean_table, moments_of, sums
from hi_ml.claims.claim import BARS, Chart, Claim
from hi_ml.claims.distinct import DistinctAdmissions, among
from hi_ml.claims.finding import Draft, Estimand, Evidence
from hi_ml.claims.patients import Patients, identify, identity_evidence, identity_table
from hi_ml.claims.requirements import constant, has, large_levels, require_columns, require_declared, require_sizes
from hi_ml.statistics.estimates import Integers, Margin
from hi_ml.statistics.linkage import IdentityRule
from hi_ml.statistics.means import contrast, design_effect, one_way
from hi_ml.statistics.proportions import Share, share_difference
from hi_ml.statistics.regression import within_strata

SENTENCE = "Advanced medications go with a shorter stay and with fewer readmissions."
NOTE = (
    "Who gets which medication depends on how ill they are (confounding by indication), so no difference here says "
    "what a medication does."
)
KEY = "advanced_medications"
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


def medication_recovery(admissions: DistinctAdmissions, settings: MedicationRecovery) -> Draft:
    """Draft the finding: parts `stay` and `readmission`, both of which must hold.

    Parameters
    ----------
    admissions : DistinctAdmissions
        Needs `medication`, with `length_of_stay`, and with patients and dates.
    """
    rows = admissions.rows
    rule = IdentityRule(settings.identity_value, settings.identity_pairs, settings.resamples)
    patients = identify(admissions, rule)
    parts = [
        ("stay", partial(_stay, admissions, settings)),
        ("readmission", partial(_readmission, admissions, patients, settings)),
    ]
    draft = Draft.of(SENTENCE, "all", parts, notes=[NOTE, patients.words])
    tables: dict[str, pd.DataFrame] = {}
    facts: dict[str, Any] = {}
    if has(rows, "medication", "length_of_stay"):
        tables["stay_by_medication"] = mean_table(sums(rows, ["medication"], "length_of_stay"))
        large = large_levels(rows, "medication", settings.smallest_group)
        draft = draft.also(*_between_medications(large, settings.smallest_f))
    if patients.identity:
        tables["identity"] = identity_table(rows, patients.identity)
        facts["pairs"] = patients.identity.same_name.pairs
        draft = draft.also(*identity_evidence(patients.identity))
    return dataclasses.replace(draft, tables=tables, facts=facts)


def _arms(rows: pd.DataFrame, admissions: DistinctAdmissions, value: str, smallest: int) -> pd.DataFrame:
    """Count and sum a value by whether the medication is declared advanced, the other ones first."""
    table = sums(_marked(rows, admissions), ["advanced"], value).reindex([False, True], fill_value=0.0)
    require_sizes(table["n"].astype("int64").set_axis(ARMS), smallest)
    return table


def _marked(rows: pd.DataFrame, admissions: DistinctAdmissions) -> pd.DataFrame:
    complete = rows[rows["medication"].notna()]
    return complete.assign(advanced=among(complete["medication"], admissions.declarations.get(KEY, ())))


def _require_advanced(admissions: DistinctAdmissions) -> None:
    """Ask for what says which medications are advanced."""
    require_columns(admissions.rows, "medication")
    declared = admissions.declarations.get(KEY, ())
    require_declared(declared, "no column and no declaration says which medications are advanced", KEY)
    if not among(admissions.rows["medication"], declared).any():
        raise Untestable("NO_MAPPING", f"no admission has medication {' or '.join(declared)}", KEY)


def _stay(admissions: DistinctAdmissions, settings: MedicationRecovery) -> Iterator[Evidence]:
    _require_advanced(admissions)
    require_columns(admissions.rows, "length_of_stay")
    groups = moments_of(_arms(admissions.rows, admissions, "length_of_stay", settings.smallest_group))
    if not groups.within.any():
        raise constant("the length of stay")
    yield Evidence.of_effect(
        Estimand("stay", "mean stay with other medications less that with advanced ones", "days"),
        contrast(groups, [1, -1], margin=Margin(settings.smallest_stay)),
        settings.smallest_stay,
        claims_positive=True,
    )


def _readmission(
    admissions: DistinctAdmissions, patients: Patients, settings: MedicationRecovery
) -> Iterator[Evidence]:
    if patients.code is None:
        clause = patients.words[:1].lower() + patients.words[1:].rstrip(".")
        raise Untestable("NO_PATIENT_ID", clause, "columns.patient_id.from")
    _require_advanced(admissions)
    require_columns(admissions.rows, "admitted_on", "discharged_on")
    stays = _marked(index_discharges(admissions.rows, patients.code, settings.window), admissions)
    arms = _arms(stays, admissions, "readmitted", settings.smallest_group)
    other, advanced = (Share(float(arm["total"]), float(arm["n"])) for _, arm in arms.iterrows())
    inflation = design_effect(stays["readmitted"], ~stays["advanced"], stays["patient"])
    words = (
        f"share of discharges followed by an admission within {settings.window} days, other medications less advanced"
    )
    yield Evidence.of_effect(
        Estimand("readmission", words, "share of discharges"),
        share_difference(other, advanced, margin=Margin(settings.smallest_readmission), design_effect=inflation),
        settings.smallest_readmission,
        claims_positive=True,
        detail={"design_effect": inflation, "share_other": other.value, "share_advanced": advanced.value},
    )


def index_discharges(rows: pd.DataFrame, patients: Integers, window: int) -> pd.DataFrame:
    """Follow each discharge of a known patient for a window of days.

    Discharges whose window reaches beyond the last admission of the table are left out: their readmission could not
    have been seen.

    Parameters
    ----------
    rows : DataFrame
        One row per admission, with `admitted_on` and `discharged_on`.
    patients : ndarray of int64, shape (n,)
        Number of the patient; -1 where unknown.
    window : int
        Days after discharge.

    Returns
    -------
    DataFrame
        The rows that can be followed, with `patient` (int) and `readmitted` (bool): another admission of the patient
        began 0 to `window` days after the discharge.
    """
    complete = rows["admitted_on"].notna() & (rows["discharged_on"] >= rows["admitted_on"]) & (patients >= 0)
    stays = rows[complete].assign(patient=pd.factorize(patients[complete.to_numpy()])[0])
    stays = stays.sort_values(["patient", "admitted_on"], kind="stable")
    followed = stays["discharged_on"] + pd.Timedelta(days=window) <= rows["admitted_on"].max()
    marked: pd.DataFrame = stays.assign(readmitted=_readmitted(stays, window))[followed]
    return marked


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
        table = fill_cells(sums(rows, ["condition", "medication"], "length_of_stay"), ["medication"])
        levels = table.index.get_level_values("medication").nunique()
        effect = within_strata(moments_of(table), levels, margin=margin)
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
