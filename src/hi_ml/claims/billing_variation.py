"""Does what is billed differ between hospitals, beyond what the luck of few admissions makes, or between insurers?"""

import dataclasses
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT
from hi_ml.app.errors import Untestable
from hi_ml.app.text import in_unit, percent
from hi_ml.claims import kinds
from hi_ml.claims.aggregates import (
    each_admission,
    keys_of,
    mean_table,
    moments_of,
    over,
    patients,
    sizes,
    sums,
    units_of,
)
from hi_ml.claims.catalogue import catalogue
from hi_ml.claims.chart import BARS, Chart
from hi_ml.claims.claim import Claim
from hi_ml.claims.distinct import DistinctAdmissions, LocalRows, Rows, commonest
from hi_ml.claims.finding import Draft, Estimand, Evidence, Part
from hi_ml.claims.kinds import Columns
from hi_ml.claims.requirements import constant, require_columns, require_two
from hi_ml.claims.tails import Draws, Sample, is_heavy, permuted
from hi_ml.statistics.estimates import POWER, Floats, Margin, joint_power
from hi_ml.statistics.means import largest_gap, mean_limits, one_way
from hi_ml.statistics.moments import Moments
from hi_ml.statistics.permutation import enough_permutations
from hi_ml.statistics.regression import residuals
from hi_ml.statistics.variance_components import (
    GAP_PER_SD,
    BetweenGroups,
    fits_logarithm,
    funnel,
    gamma_around,
    shrink,
)

SENTENCE = "What is billed differs between hospitals, or between insurers."
NOTE = (
    "Nothing in the table says how complex a procedure was, so a difference between hospitals may be one of patients."
)
HOSPITALS, INSURERS = "hospitals", "insurers"
WORDS = {HOSPITALS: "between hospitals", INSURERS: "between insurers"}
PARTS = 2
CASE_MIX = ("age", "sex", "condition", "admission_type", "insurer")
"""Columns that may explain a bill without being the hospital's doing."""
LEVELS = {"95": 0.95, "998": 0.998}
"""Warning and alarm limits of a funnel, by custom."""
LOGARITHM = "on the logarithm"
_IN_CURRENCY = ("typical_gap", "typical_gap_high90", "mean_bill")
POINTS = 60
"""Volumes at which the limits are drawn."""


@dataclass(frozen=True, config=STRICT)
class BillingVariation:
    """What the finding is set to."""

    smallest_gap: PositiveFloat  # average distance of two random hospitals that matters, as a share of the mean bill
    smallest_f: PositiveFloat  # Cohen's f between insurers that matters
    permutations: PositiveInt  # of the bills, patients taken together, over the hospitals and over the insurers
    smallest_pairs: int  # pairs of admissions of one hospital below which the hospitals stay undecided
    # admissions from which an insurer is compared; the hospitals together need twice as many
    smallest_group: PositiveInt
    smallest_volume: PositiveInt  # admissions from which a hospital is shown


class HospitalComparison(NamedTuple):
    """The hospitals of a table, compared."""

    table: pd.DataFrame  # from `sums`
    between: BetweenGroups
    evidence: Evidence  # of the closed forms: its `p_support` is that of the F table


def billing_variation(admissions: DistinctAdmissions, settings: BillingVariation) -> Draft:
    """Draft the finding: parts `hospitals` and `insurers`, one of which must hold.

    Parameters
    ----------
    admissions : DistinctAdmissions
        Needs `billed`, and `hospital` or `insurer`.
    """
    rows, by_insurer, power = admissions.first, admissions.by("insurer"), joint_power(PARTS)
    compared = cache(partial(_compare, rows, settings, power=power))
    parts: list[Part] = [
        (HOSPITALS, lambda: _hospitals(admissions, compared(), settings)),
        (INSURERS, partial(_insurers, by_insurer, settings, power)),
    ]
    draft = Draft.of(SENTENCE, "any", parts, words=WORDS, around="What is billed differs {}.")
    draft = draft.in_units(by_insurer.units, INSURERS)
    tables: dict[str, pd.DataFrame] = {}
    unit = _unit(admissions)
    facts: dict[str, Any] = {"volume": settings.smallest_volume, "unit": unit, "measure": ("Mean bill", unit)}
    notes = [NOTE]
    try:
        comparison = compared()
    except Untestable:
        pass
    else:
        tables |= hospital_tables(comparison.table, comparison.between, settings.smallest_volume)
        facts["hospitals"] = len(tables["hospital_effects"])
        notes += _hospital_notes(comparison, settings, unit)
    notes += [
        f"A logarithm fits the bills better than they do themselves: on it, {percent(part.estimate)} % of the variance "
        f"lies between hospitals (95 % interval {percent(part.low or 0.0)} to {percent(part.high or 0.0)})."
        for part in draft.evidence
        if part.part == f"{HOSPITALS} ({LOGARITHM})"
    ]
    if any(part.detail.get("ranks_agree") == 0 for part in draft.evidence):
        notes.append(
            "Means and ranks of bills disagree on which insurer is dearer, so insurers cannot support the claim."
        )
    if {"insurer", "billed"} <= set(rows.roles):
        tables["insurer_means"] = mean_table(by_insurer.first.sums(["insurer"], "billed"))
    if rows.narrow and "billed" in rows.roles:
        notes.append(f"Bills were not adjusted for {_mix(rows)}: that takes all of these columns at once.")
    return dataclasses.replace(draft, notes=tuple(notes), tables=tables, facts=facts)


def _hospitals(
    admissions: DistinctAdmissions, comparison: HospitalComparison, settings: BillingVariation
) -> Iterator[Evidence]:
    if comparison.between.pairs < settings.smallest_pairs:
        yield dataclasses.replace(comparison.evidence, p_support=1.0, p_absence=1.0)
    else:
        draws = Draws(settings.permutations, admissions.rng(HOSPITALS))
        billed = Columns("billed", "hospital")
        rows = admissions.take("hospital", "billed")
        yield kinds.with_permuted_p(comparison.evidence, rows, billed, draws, admissions.seed)
    yield from _sensitivities(admissions.first, settings)


def _compare(
    rows: Rows, settings: BillingVariation, name: str = "hospital", *, power: float = POWER
) -> HospitalComparison:
    for role in (name, "billed"):
        require_columns(rows.take([role]), role)
    table = rows.sums([name], "billed")
    needed = 2 * settings.smallest_group  # a comparison has two sides
    kinds.require_several(table, HOSPITALS, needed, "the bill")
    return HospitalComparison(table, *compare_hospitals(table, settings.smallest_gap, power=power))


def compare_hospitals(
    table: pd.DataFrame, smallest_gap: float, *, power: float = POWER
) -> tuple[BetweenGroups, Evidence]:
    """Estimate the share of the variance of bills that lies between hospitals, see `hi_ml.claims.kinds.variation`."""
    words = "share of the variance of bills that lies between hospitals"
    estimand = Estimand(HOSPITALS, words, "share of variance")
    between, evidence = kinds.variation(table, smallest_gap, estimand, power=power)
    counted = {
        "hospitals": kinds.one_value_a_patient(table).large_enough(2).n.size,
        "mean_bill": _mean_bill(table),
    }
    return between, dataclasses.replace(evidence, detail=dict(evidence.detail) | counted)


def _unit(admissions: DistinctAdmissions) -> str:
    return admissions.units_of_columns.get("billed") or "currency"


def _mean_bill(table: pd.DataFrame) -> float:
    return float((table["total"] + table["base"]).sum() / table["n"].sum())


def _sensitivities(rows: Rows, settings: BillingVariation) -> Iterator[Evidence]:
    """Repeat with names as written, on the logarithm where that fits better, and with bills adjusted for the mix."""
    again = [("names as written", rows, "hospital_as_written")]
    yield from _of_logarithm(rows, settings)
    if not rows.narrow:
        with_bill = rows.take(["hospital", "billed", *CASE_MIX])
        with_bill = with_bill[with_bill["billed"].notna()]
        bills = with_bill["billed"].to_numpy(dtype=np.float64)
        adjusted = with_bill.assign(billed=residuals(bills, _case_mix(with_bill)) + bills.mean())
        again.append((f"adjusted for {_mix(rows)}", LocalRows(adjusted), "hospital"))
    for how, table, name in again:
        try:
            evidence = _compare(table, settings, name).evidence
        except Untestable:
            continue
        part, words = f"{evidence.part} ({how})", f"{evidence.estimand}, {how}"
        yield dataclasses.replace(evidence, part=part, estimand=words, role="secondary")


def _of_logarithm(rows: Rows, settings: BillingVariation) -> Iterator[Evidence]:
    """Repeat the comparison on the logarithm, where that is closer to what the closed forms take for granted."""
    bills = rows.take(["hospital", "billed"]).dropna(subset=["billed"])
    amounts = bills["billed"].to_numpy(dtype=np.float64)
    if not fits_logarithm(amounts):
        return
    logarithm = 1 + np.log(amounts / amounts.min())  # from 1 on: the smallest gap is a share of the mean
    gap = float(np.log1p(settings.smallest_gap) / logarithm.mean())
    with suppress(Untestable):
        frame = LocalRows(bills.assign(billed=logarithm))
        evidence = _compare(frame, dataclasses.replace(settings, smallest_gap=gap)).evidence
        kept = {name: value for name, value in evidence.detail.items() if name not in _IN_CURRENCY}
        words = f"{evidence.estimand}, on the logarithm, which fits them better"
        part = f"{HOSPITALS} ({LOGARITHM})"
        yield dataclasses.replace(evidence, part=part, estimand=words, role="secondary", detail=kept)


def _mix(rows: Rows) -> str:
    return ", ".join(role for role in CASE_MIX if role in rows.roles)


def _case_mix(rows: pd.DataFrame) -> Floats:
    """Build the covariates: a constant, each common level of each category (missing is one), age, and whether known."""
    columns = [np.ones(len(rows))]
    for role in (role for role in CASE_MIX if role in rows):
        if role == "age":
            age = rows["age"].to_numpy(dtype=np.float64)
            is_known = np.isfinite(age)
            centred = np.where(is_known, age - (age[is_known].mean() if is_known.any() else 0.0), 0.0)
            columns += [centred, is_known.astype(np.float64)]
        else:
            codes, levels = pd.factorize(commonest(rows, role), use_na_sentinel=False)
            columns += list(np.eye(len(levels))[codes].T)
    return np.column_stack(columns)


def _hospital_notes(comparison: HospitalComparison, settings: BillingVariation, unit: str) -> Iterator[str]:
    table, between = comparison.table, comparison.between
    bills = moments_of(over(table, keys_of(table))).together
    gap, mean = GAP_PER_SD * np.sqrt(between.icc.high90 * bills.variance[0]), bills.mean[0]
    yield (
        f"Two hospitals drawn at random differ in their mean bill by at most {in_unit(gap, unit, signed=False)} {unit} "
        f"on average ({percent(gap / mean)} % of the mean bill), with 95 % confidence."
    )
    if sizes(table).median() == 1:
        yield "Hospital names do not behave like identifiers: at least half of them stand on a single admission."
    if between.pairs < settings.smallest_pairs:
        pairs = f"{between.pairs:,} pairs of admissions{'' if between.icc.units is None else ' of two patients'}"
        yield f"Only {pairs} share a hospital; below {settings.smallest_pairs:,} the hospitals stay undecided."
    if not enough_permutations(settings.permutations, PARTS * len(catalogue())):
        yield f"{settings.permutations} permutations are too few for the hospitals to support the claim."


def hospital_tables(table: pd.DataFrame, between: BetweenGroups, smallest_volume: int) -> dict[str, pd.DataFrame]:
    """Make the tables of the hospital charts.

    Parameters
    ----------
    table : DataFrame
        From `sums`, by hospital.
    smallest_volume : int
        Admissions from which a hospital is shown.

    Returns
    -------
    dict of str to DataFrame
        `hospital_effects`: `hospital, n, mean, mean_low, mean_high, effect, low, high, centre`, by effect, in currency;
        effects are measured from the centre, the mean of all bills, and every one is 0 where no variance around it is
        found. `hospital_funnel`: layer `hospital`, `hospital, n, mean, centre, low95, high95, low998, high998,
        outside95, outside998`, largest first, and layer `limit`, the same limits over the volumes shown. Both are empty
        where no hospital is large enough.
    """
    whole = over(table, keys_of(table))
    large = whole[whole["n"] >= smallest_volume].sort_values("n", ascending=False, kind="stable").index
    groups, centre = moments_of(table, large), _mean_bill(table)
    mean_low, mean_high = mean_limits(groups)
    several = moments_of(table, whole.index[whole["n"] > 1])
    inflation = _design_effect(several)
    gamma = gamma_around(several.thinned(inflation), centre=centre, within=between.within)
    effect, low, high = shrink(groups.thinned(inflation), centre=centre, within=between.within, gamma=gamma)
    hospitals = pd.DataFrame({"hospital": large, "n": groups.n.astype(np.int64), "mean": groups.mean})
    hospitals["patients"] = patients(table, keys_of(table)).reindex(large, fill_value=0).to_numpy()
    effects = hospitals.assign(
        mean_low=mean_low, mean_high=mean_high, effect=effect, low=low, high=high, centre=centre
    ).sort_values("effect", kind="stable", ignore_index=True)
    limits = _limits(groups.n / inflation, centre, between.within)
    outside = {
        f"outside{name}": (groups.mean < limits[f"low{name}"]) | (groups.mean > limits[f"high{name}"])
        for name in LEVELS
    }
    volumes = np.unique(np.geomspace(smallest_volume, groups.n.max(initial=smallest_volume), POINTS).round())
    drawn = pd.DataFrame({"n": volumes.astype(np.int64), **_limits(volumes / inflation, centre, between.within)})
    layers = [hospitals.assign(**limits, **outside, layer="hospital"), drawn.assign(layer="limit")]
    together = pd.concat(layers, ignore_index=True)
    return {"hospital_effects": effects, "hospital_funnel": together if len(hospitals) else together.head(0)}


def _design_effect(groups: Moments) -> float:
    """Say by how much the variances of hospitals' mean bills grow, on average, since patients come again."""
    if groups.clusters is None:
        return 1.0
    return float((groups.squared_error * groups.n**2).sum() / (groups.variance * groups.n).sum())


def _limits(volumes: Floats, centre: float, within: float) -> dict[str, Floats]:
    limits = {"centre": np.full_like(volumes, centre)}
    for name, level in LEVELS.items():
        limits[f"low{name}"], limits[f"high{name}"] = funnel(volumes, centre=centre, within=within, level=level)
    return limits


def _insurers(admissions: DistinctAdmissions, settings: BillingVariation, power: float) -> Iterator[Evidence]:
    """Estimate Cohen's f between insurers, and the largest gap between two of them.

    Bills are permuted over the insurers, patient by patient: the F table is not to be trusted with a small insurer and
    long tails. Where the two insurers that lie farthest apart change places when ranks are compared, the part stays
    undecided.
    """
    rows = admissions.take("insurer", "billed")
    require_columns(rows, "insurer", "billed")
    complete = each_admission(rows[rows["billed"].notna() & rows["insurer"].notna()])
    if len(complete["insurer"].unique()) == 1:
        raise constant("the insurer")
    large = require_two(complete, "insurer", settings.smallest_group).sort_values()
    complete = complete[complete["insurer"].isin(large)]
    groups = moments_of(sums(complete, ["insurer"], "billed"), large.rename("insurer"))
    if not groups.within.all():
        raise constant("the bill of some insurer")
    bills, insurer = complete["billed"].to_numpy(dtype=np.float64), large.get_indexer(pd.Index(complete["insurer"]))
    sample = Sample(bills, insurer.astype(np.int64), units_of(complete))
    effect = one_way(groups, margin=Margin(settings.smallest_f, power))
    heavy, p_table = is_heavy(sample, float(groups.free.min())), effect.p_zero
    effect = permuted(effect, sample, Draws(settings.permutations, admissions.rng(INSURERS)))
    higher, lower, gap = largest_gap(groups)
    ranks = sample.exceeding(higher, lower)
    agree = ranks.value > 0.5  # noqa: PLR2004 -- of the pairs
    words = "spread of the mean bills of insurers over the spread of bills"
    detail = {"insurers": len(large), "permutations": settings.permutations, "p_f_table": p_table}
    decided = effect if agree else dataclasses.replace(effect, p_zero=1.0)
    yield Evidence.of_effect(
        Estimand(INSURERS, words, "Cohen's f"),
        decided,
        settings.smallest_f,
        detail=detail | {"p_permuted": effect.p_zero},
        keeps_level=not heavy,
    )
    pair = {"higher": str(large[higher]), "lower": str(large[lower])}
    estimand = Estimand(
        "insurers (largest gap)", "largest gap between the mean bills of two insurers", _unit(admissions)
    )
    yield Evidence.of_figure(estimand, gap, effect.n, detail=pair)
    words = "chance that a bill at the dearer of the two is higher than one at the other, ties counted half"
    estimand = Estimand("insurers (ranks)", words, "probability")
    yield Evidence.of_figure(estimand, ranks, effect.n, detail=pair | {"ranks_agree": int(agree)})


CLAIM = Claim(
    name="billing_variation",
    settings=BillingVariation,
    draft=billing_variation,
    position=2,
    charts=(
        Chart(
            name="hospitals",
            kind="hospital_bills",
            table="hospital_effects",
            shows="Bar chart: shrunken mean bill by hospital",
            note="{hospitals:,} hospitals of {volume:,} admissions or more (in brackets). Means are shrunken towards "
            "that of all, the more so the fewer admissions; all are equal where no variance between hospitals is "
            "found.",
            given=("unit",),
        ),
        Chart(
            name="funnel",
            kind="hospital_funnel",
            table="hospital_funnel",
            shows="Funnel plot: mean bills of hospitals by volume",
            note="{hospitals:,} hospitals. Of those that differ by luck alone, 5 % leave the inner and 0.2 % the outer "
            "limits. Named: those farthest out.",
            given=("unit",),
            count=lambda table: int(table.loc[table["layer"] == "hospital", "n"].sum()),
        ),
        Chart(
            name="insurers",
            kind="means",
            table="insurer_means",
            shows="Bar chart: mean bill by insurer",
            note=f"{BARS}, each insurer on its own.",
            options={"group": "insurer"},
            given=("measure",),
        ),
    ),
)
