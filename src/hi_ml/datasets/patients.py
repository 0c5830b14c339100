"""Which admissions are one patient's, where the table says so or its names do?"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hi_ml.datasets.duplicates import Twins, joined
from hi_ml.statistics.identity import DAYS_A_YEAR, LINKABLE, IdentityRule, People, judge_identity, link

Codes = NDArray[np.int64]
BY_ID, UNTESTED = "patient_id", "untested"  # besides the verdicts of the identity test
_NEEDED = {"patient_name", "sex", "blood_type", "age", "admitted_on"}
_VERDICT_ONLY = IdentityRule(resamples=1)  # the bootstrap gives an interval that grouping does not need


def people(codes: Mapping[str, Codes], typed: Mapping[str, pa.Array]) -> People | None:
    """Collect what could tell two people of one name apart; None where a column for it is absent, or age is no number.

    Parameters
    ----------
    codes : mapping of str to array of int64, shape (n,)
        By role; -1 where missing.
    typed : mapping of str to pyarrow.Array, shape (n,)
        ``age`` in years and ``admitted_on``, from which a date of birth is estimated.
    """
    if not set(codes) >= _NEEDED or not pa.types.is_floating(typed["age"].type):
        return None
    admitted = typed["admitted_on"].to_numpy(zero_copy_only=False).astype("datetime64[D]")
    day = np.where(np.isnat(admitted), np.nan, admitted.astype("int64").astype(float))
    birth = day - DAYS_A_YEAR * np.floor(typed["age"].to_numpy(zero_copy_only=False))
    return People(codes["patient_name"], codes["sex"], codes["blood_type"], birth)


def groups(twins: Twins, known: People | None, patient: Codes | None, *, seed: int) -> tuple[Codes, str]:
    """Join near-duplicates and, where patients can be told apart, the admissions of one patient.

    Parameters
    ----------
    twins : Twins
    known : People or None
    patient : array of int64, shape (n,), or None
        Codes of the ``patient_id``, -1 where missing.
    seed : int

    Returns
    -------
    group : array of int64, shape (n,)
    identity : str
        How patients were told apart: ``patient_id``, or the verdict of `hi_ml.statistics.identity.judge_identity` on
        names (only ``linkable`` joins anything), or ``untested`` where a column for that test is absent.
    """
    if patient is not None:
        return _joined(twins, patient), BY_ID
    if known is None:
        return twins.group, UNTESTED
    _, first = np.unique(twins.group, return_index=True)
    distinct = People(known.name[first], known.sex[first], known.blood_type[first], known.birth[first])
    verdict = judge_identity(distinct, _VERDICT_ONLY, rng=np.random.default_rng(seed)).verdict
    return (_joined(twins, link(known)) if verdict == LINKABLE else twins.group), verdict


def _joined(twins: Twins, person: Codes) -> Codes:
    links = []
    for labels in (twins.group, person):
        order = np.argsort(labels, kind="stable")
        same = (labels[order][1:] == labels[order][:-1]) & (labels[order][1:] >= 0)
        links.append((order[:-1][same], order[1:][same]))
    return joined(len(person), [first for first, _ in links], [second for _, second in links])
