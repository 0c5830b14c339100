"""Who is who? Patients by their number, or by a name where a name stands for a person."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hi_ml.claims.aggregates import each_admission
from hi_ml.claims.distinct import DistinctAdmissions, persons_of
from hi_ml.claims.finding import Detail, Estimand, Evidence
from hi_ml.data.duplicates import TELLING
from hi_ml.statistics.estimates import Floats, Integers
from hi_ml.statistics.linkage import (
    LINKABLE,
    Identity,
    IdentityRule,
    combine,
    judge_identity,
    link,
    overlapping_partners,
    pair_count,
)

FOLLOWED = ("medication", "disposition", "admitted_on", "discharged_on")  # what tells of a stay and of what follows it


@dataclass(frozen=True)
class Patients:
    """Whom the rows belong to."""

    # int64, shape (n,), or None; number of the patient, -1 where unknown; None where nothing tells patients
    # apart
    code: Integers | None
    identity: Identity | None  # the test of names, where it was made
    words: str  # what was found, as a sentence
    rows: pd.DataFrame  # shape (n, some), one an admission: what tells of them, and of their stays


def identify(admissions: DistinctAdmissions, rule: IdentityRule) -> Patients:
    """Tell patients apart by `patient_id`, or else by names that pass the test."""
    by = ("patient_id",) if "patient_id" in admissions.first.roles else (*TELLING, "hospital")
    rows = each_admission(admissions.take(*by, *FOLLOWED))
    if "patient_id" in rows:
        code = rows["patient_id"].to_numpy(dtype=np.int64)
        return Patients(code, None, "Patients are told apart by their number.", rows)
    persons = persons_of(rows)
    if persons is None:
        absent = [role for role in TELLING if role not in rows]
        return Patients(None, None, f"Patients cannot be told apart: the table has no {', no '.join(absent)}.", rows)
    identity = judge_identity(persons, rule, rng=admissions.rng("identity"))
    linked = identity.verdict == LINKABLE
    return Patients(link(persons) if linked else None, identity, _words(identity), rows)


def identity_table(rows: pd.DataFrame, identity: Identity) -> pd.DataFrame:
    """Set the agreement of pairs of one name beside that of all pairs.

    Parameters
    ----------
    rows : DataFrame
        With the columns of `hi_ml.data.duplicates.TELLING`; hospital and dates of stay are compared where they are
        there.

    Returns
    -------
    DataFrame
        `agreement, same_name, chance` (shares of pairs, 0 to 1), `n` (pairs of one name that agree); chance is NaN
        where it was not counted.
    """
    named = rows[rows["patient_name"] >= 0]
    same, chance = identity.same_name, identity.chance
    table = [
        ("sex", same.sex, chance.sex),
        ("blood type", same.blood_type, chance.blood_type),
        ("birth date, to a year", same.birth, chance.birth),
        ("all three", same.everything, chance.everything),
    ]
    pairs = max(same.pairs, 1)
    if "hospital" in rows:
        hospital, _ = pd.factorize(named["hospital"])
        is_known = hospital >= 0
        agreeing = pair_count(combine(named["patient_name"].to_numpy()[is_known], hospital[is_known]))
        table.append(("hospital", agreeing / pairs, np.nan))
    if "discharged_on" in rows:
        table.append(("overlapping stays", _overlapping(named) / pairs, np.nan))
    frame = pd.DataFrame(table, columns=["agreement", "same_name", "chance"])
    return frame.assign(n=(frame["same_name"] * same.pairs).round().astype("int64"))


def identity_evidence(identity: Identity) -> Iterator[Evidence]:
    """State what the test of names found, as secondary evidence."""
    words = "share of the compatible same-name pairs that is one person"
    estimand = Estimand("names (predictive value)", words, "share of pairs")
    detail: Detail = {
        "compatible": identity.compatible.value,
        "expected": identity.expected,
        "verdict": identity.verdict,
    }
    yield Evidence.of_figure(estimand, identity.predictive_value, identity.same_name.pairs, detail=detail)
    words = "share of the same-name pairs that is one person"
    estimand = Estimand("names (same person)", words, "share of pairs")
    yield Evidence.of_figure(estimand, identity.same_person, identity.same_name.pairs)


def _overlapping(rows: pd.DataFrame) -> int:
    complete = rows[rows["admitted_on"].notna() & (rows["discharged_on"] >= rows["admitted_on"])]
    starts, ends = _days(complete["admitted_on"]), _days(complete["discharged_on"])
    return int(overlapping_partners(combine(complete["patient_name"]), starts, ends).sum())


def _days(dates: "pd.Series[pd.Timestamp]") -> Floats:
    return (dates - pd.Timestamp(0)).dt.days.to_numpy().astype(np.float64)


def _words(identity: Identity) -> str:
    compatible, pairs = int(identity.compatible.value), identity.same_name.pairs
    figures = f"{compatible:,} of {pairs:,} same-name pairs could be one person, {identity.expected:,.0f} are expected"
    openings = {
        "linkable": "Repeated names are persons",
        "partial": "Repeated names are persons too rarely to be used",
        "no_identity": "Repeated names are chance collisions",
    }
    if pairs == 0:
        return "No name stands on two admissions, so no patient is seen twice."
    return f"{openings[identity.verdict]}: {figures} by chance."
