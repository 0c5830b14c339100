"""The five findings on the Kaggle table, against an implementation of their own: raw rows, brute force, statsmodels."""

import re
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import yaml
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import Table
from statsmodels.stats.oneway import anova_oneway, equivalence_oneway
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest, tost_proportions_2indep
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_ind

from hi_ml.app.config import conf_dir
from hi_ml.claims.catalogue import catalogue, settings_of, state
from hi_ml.claims.distinct import one_row_each

CLAIMS = list(catalogue())
SOURCE = Path(__file__).resolve().parents[1] / "data" / "raw" / "healthcare_dataset.csv"
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not SOURCE.is_file(), reason="data/raw/healthcare_dataset.csv is absent: see data/README.md"),
]
SETTINGS = settings_of(
    {name: yaml.safe_load((conf_dir() / "finding" / f"{name}.yaml").read_text("utf-8")) for name in CLAIMS}
)


def hospital_key(name):
    return " ".join(sorted(re.sub(r"[^\w\s]", "", name.casefold()).split()))


@pytest.fixture(scope="module")
def raw():
    table = pd.read_csv(SOURCE, parse_dates=["Date of Admission", "Discharge Date"])
    frame = pd.DataFrame(
        {
            "age": table["Age"].astype(float),
            "sex": table["Gender"],
            "blood_type": table["Blood Type"],
            "condition": table["Medical Condition"],
            "hospital": table["Hospital"].map(hospital_key),
            "hospital_as_written": table["Hospital"],
            "insurer": table["Insurance Provider"],
            "admission_type": table["Admission Type"],
            "medication": table["Medication"],
            "test_result": table["Test Results"],
            "admitted_on": table["Date of Admission"],
            "discharged_on": table["Discharge Date"],
            "length_of_stay": (table["Discharge Date"] - table["Date of Admission"]).dt.days.astype(float),
            "billed": table["Billing Amount"],
            "patient_name": pd.factorize(table["Name"].str.casefold())[0],
        }
    )
    twins = table.groupby([name for name in table if name != "Age"], sort=False).ngroup().to_numpy()
    return frame, twins


@pytest.fixture(scope="module")
def rows(raw):
    frame, twins = raw
    return frame[~pd.Series(twins).duplicated().to_numpy()].reset_index(drop=True)


@pytest.fixture(scope="module")
def found(raw):
    declared = {"severe_conditions": ["Cancer"]}
    return {finding.finding: finding for finding in state(one_row_each(*raw, declarations=declared), SETTINGS)}


def evidence(found, finding, part):
    return next(item for item in found[finding].evidence if item.part == part)


def interval(item):
    return item.low, item.high


def near(value, tolerance=1e-6):
    return pytest.approx(value, abs=tolerance, rel=tolerance)


def test_no_finding_is_supported_and_four_are_absent(found):
    verdicts = {name: (finding.verdict, finding.reason) for name, finding in found.items()}
    assert verdicts == {
        "age_condition": ("not_supported", "ABSENT"),
        "billing_variation": ("not_supported", "ABSENT"),
        "emergency_stay": ("not_supported", "ABSENT"),
        "medication_recovery": ("not_testable", "NO_MAPPING"),
        "insurance_access": ("not_supported", "ABSENT"),
    }
    assert evidence(found, "age_condition", "diabetes").n == 50_000


@pytest.mark.parametrize("condition", ["Hypertension", "Diabetes"])
def test_age_and_condition(found, rows, condition):
    old = rows["age"] >= 50
    has = rows["condition"] == condition
    samples = (has & old).sum(), old.sum(), (has & ~old).sum(), (~old).sum()
    item = evidence(found, "age_condition", condition.casefold())
    assert item.estimate == near(samples[0] / samples[1] - samples[2] / samples[3])
    assert interval(item) == near(confint_proportions_2indep(*samples, method="newcomb"))
    assert (item.low90, item.high90) == near(confint_proportions_2indep(*samples, method="newcomb", alpha=0.1))
    assert item.detail["p_two_sided"] == near(proportions_ztest(samples[::2], samples[1::2])[1])
    tost = tost_proportions_2indep(*samples, -0.03, 0.03, method="wald")
    assert item.p_absence == near(tost.results_smaller.pvalue)
    assert item.n_needed == pytest.approx(5_300, rel=0.01)
    trend = evidence(found, "age_condition", f"{condition.casefold()} (trend)")
    table = pd.crosstab(rows["age"] // 10, has)
    oracle = Table(table).test_ordinal_association(row_scores=table.index.to_numpy(), col_scores=np.array([0, 1]))
    assert trend.detail["p_value"] == near(oracle.pvalue)


def test_decade_and_condition(found, rows):
    item = evidence(found, "age_condition", "decade by condition")
    pearson = stats.chi2_contingency(pd.crosstab(rows["age"] // 10, rows["condition"]))
    high = optimize.brentq(lambda w: stats.ncx2.cdf(pearson.statistic, 35, 50_000 * w**2) - 0.025, 1e-6, 1)
    assert (item.estimate, item.low, item.high) == near((0.0, 0.0, high))
    assert item.high == pytest.approx(0.0124, abs=5e-5)


def wald(rows, key, values):
    """Solve Wald's pivot from raw rows."""
    groups = [group.to_numpy() for _, group in values.groupby(rows[key]) if len(group) > 1]
    n, mean = np.array([len(group) for group in groups]), np.array([group.mean() for group in groups])
    within = sum(((group - group.mean()) ** 2).sum() for group in groups) / (n.sum() - len(n))

    def pivot(gamma):
        weight = n / (1 + n * gamma)
        centre = (weight * mean).sum() / weight.sum()
        return (weight * (mean - centre) ** 2).sum() / (len(n) - 1) / within

    def icc(quantile):
        gamma = 0 if pivot(0) <= quantile else optimize.brentq(lambda g: pivot(g) - quantile, 0, 10, xtol=1e-15)
        return gamma / (1 + gamma)

    law = stats.f(len(n) - 1, n.sum() - len(n))
    return pivot, law, {q: icc(law.ppf(q)) for q in (0.975, 0.95, 0.05, 0.025)} | {1: icc(1)}, (len(n), n.sum())


def test_hospitals(found, rows):
    item = evidence(found, "billing_variation", "hospitals")
    pivot, law, icc, sizes = wald(rows, "hospital", rows["billed"])
    assert sizes == (3_994, 17_004) == (item.detail["hospitals"], item.n)
    assert item.detail["pairs"] == 79_425
    assert (item.estimate, item.low, item.high) == near((icc[1], icc[0.975], icc[0.025]))
    assert (item.low90, item.high90) == near((icc[0.95], icc[0.05]))
    smallest = (0.10 * rows["billed"].mean() / (2 / np.sqrt(np.pi))) ** 2 / rows["billed"].var()
    assert item.smallest_effect == near(smallest) == pytest.approx(0.0254, abs=5e-5)
    assert item.p_absence == near(law.cdf(pivot(smallest / (1 - smallest))))
    assert item.detail["statistic"] == near(pivot(0.0)) == pytest.approx(0.990, abs=5e-4)
    assert item.detail["typical_gap_high90"] == pytest.approx(1_417, rel=2e-3)
    several = rows.groupby("hospital")["billed"].transform("size") > 1
    deviations = rows["billed"] - rows["billed"].mean()
    pairs = [np.sum(np.triu(np.outer(group, group), 1)) for _, group in deviations[several].groupby(rows["hospital"])]
    assert item.detail["pair_icc"] == near(sum(pairs) / 79_425 / rows["billed"].var())
    # The reference p-value, .67, is itself a draw of 999: two Monte Carlo errors, and the F table's for a guide.
    assert item.p_support == pytest.approx(0.67, abs=3 * np.sqrt(2 * 0.67 * 0.33 / 999))


def test_hospitals_by_another_permutation(found, rows):
    several = rows.groupby("hospital")["billed"].transform("size") > 1
    hospital, _ = pd.factorize(rows.loc[several, "hospital"])
    bills, sizes = rows.loc[several, "billed"].to_numpy(), np.bincount(hospital)
    rng = np.random.default_rng(12)

    def separation(values):
        return (np.bincount(hospital, weights=values) ** 2 / sizes).sum()

    drawn = np.array([separation(rng.permutation(bills)) for _ in range(999)])
    p_value = (1 + (drawn >= separation(bills)).sum()) / 1000
    item = evidence(found, "billing_variation", "hospitals")
    assert item.p_support == pytest.approx(p_value, abs=3 * np.sqrt(2 * p_value * (1 - p_value) / 999))


def test_hospitals_as_written_and_adjusted(found, rows):
    written = evidence(found, "billing_variation", "hospitals (names as written)")
    _, _, icc, _ = wald(rows, "hospital_as_written", rows["billed"])
    assert (written.estimate, written.low, written.high) == near((icc[1], icc[0.975], icc[0.025]))
    assert (written.estimate, written.high) == pytest.approx((0.0051, 0.0213), abs=5e-5)
    covariates = pd.get_dummies(rows[["sex", "condition", "admission_type", "insurer"]], drop_first=True).astype(float)
    left = sm.OLS(rows["billed"], sm.add_constant(covariates.assign(age=rows["age"]))).fit().resid
    _, _, icc, _ = wald(rows, "hospital", left)
    adjusted = next(item for item in found["billing_variation"].evidence if item.part.startswith("hospitals (adjusted"))
    assert (adjusted.estimate, adjusted.low, adjusted.high) == near((icc[1], icc[0.975], icc[0.025]))
    assert adjusted.high == pytest.approx(0.0100, abs=5e-5)


def test_the_funnel_of_large_hospitals(found):
    funnel = found["billing_variation"].tables["hospital_funnel"].query("layer == 'hospital'")
    assert (len(funnel), funnel["outside95"].sum(), funnel["outside998"].sum()) == (33, 3, 0)


def test_insurers(found, rows):
    item = evidence(found, "billing_variation", "insurers")
    samples = {name: group.to_numpy() for name, group in rows.groupby("insurer")["billed"]}
    welch = anova_oneway(list(samples.values()), use_var="unequal")
    assert (item.detail["p_f_table"], item.detail["statistic"]) == near((welch.pvalue, welch.statistic))
    # of permutations: 50 that lie as far apart end the drawing, so its error is a seventh of it
    assert item.p_support == item.detail["p_permuted"] == pytest.approx(welch.pvalue, rel=0.25)
    assert item.estimate == near(np.sqrt(max(0, welch.df_num * (welch.statistic - 1)) / 50_000))
    high = optimize.brentq(lambda f: stats.ncf.cdf(welch.statistic, *welch.df, 50_000 * f**2) - 0.025, 1e-6, 1)
    assert interval(item) == near((0.0, high))
    oracle = equivalence_oneway(list(samples.values()), 0.05**2, use_var="unequal", margin_type="f2")
    assert item.p_absence == near(oracle.pvalue)
    gap = evidence(found, "billing_variation", "insurers (largest gap)")
    means = {name: sample.mean() for name, sample in samples.items()}
    higher, lower = max(permutations(samples, 2), key=lambda pair: means[pair[0]] - means[pair[1]])
    test = stats.ttest_ind(samples[higher], samples[lower], equal_var=False)
    assert (gap.detail["higher"], gap.detail["lower"]) == (higher, lower)
    assert gap.estimate == near(means[higher] - means[lower])
    assert interval(gap) == near(tuple(test.confidence_interval(1 - 0.05 / 10)))
    assert (round(gap.estimate), round(gap.low), round(gap.high)) == (238, -326, 802)


def test_emergency_stays(found, rows):
    item = evidence(found, "emergency_stay", "emergency")
    emergency = rows["admission_type"] == "Emergency"
    first, second = rows.loc[emergency, "length_of_stay"], rows.loc[~emergency, "length_of_stay"]
    compare = CompareMeans(DescrStatsW(first), DescrStatsW(second))
    assert item.estimate == near(first.mean() - second.mean())
    assert interval(item) == near(compare.tconfint_diff(usevar="unequal"))
    assert item.detail["p_two_sided"] == near(compare.ttest_ind(usevar="unequal")[1])
    p_tost, _, below = ttost_ind(first, second, -1.0, 1.0, usevar="unequal")
    assert (item.p_absence, item.detail["p_outside"]) == near((below[1], p_tost))
    assert item.n_needed == pytest.approx(2_900, rel=0.01)
    ranks = evidence(found, "emergency_stay", "emergency (ranks)")
    u = stats.mannwhitneyu(first, second).statistic
    assert ranks.estimate == near(u / len(first) / len(second))


def test_the_subgroup_that_looks_real(found, rows):
    cancer = evidence(found, "emergency_stay", "emergency in Cancer")
    within = rows[rows["condition"] == "Cancer"]
    emergency = within["admission_type"] == "Emergency"
    days = within["length_of_stay"]
    test = stats.ttest_ind(days[emergency], days[~emergency], equal_var=False)
    assert interval(cancer) == near(tuple(test.confidence_interval()))
    assert (cancer.estimate, cancer.low, cancer.high) == pytest.approx((0.73, 0.33, 1.13), abs=5e-3)
    assert (cancer.role, cancer.detail["discovery"]) == ("exploratory", 0)
    assert cancer.detail["p_value"] == near(test.pvalue) == pytest.approx(0.0003, abs=5e-5)
    severity = evidence(found, "emergency_stay", "severity")
    assert (severity.estimate, severity.low, severity.high) == pytest.approx((0.70, 0.27, 1.14), abs=5e-3)
    assert severity.p_support == pytest.approx(0.0015, abs=5e-5)
    assert evidence(found, "emergency_stay", "emergency by condition").detail["p_value"] == pytest.approx(
        0.018, abs=5e-4
    )
    screen = found["emergency_stay"].tables["stay_screen"]
    assert (len(screen), screen["discovery"].sum()) == (1_540, 0)
    assert (screen["level"][0], screen["stratum"][0]) == ("Emergency", "Cancer")


def test_names_are_no_patients(found, rows):
    table = found["medication_recovery"].tables["identity"].set_index("agreement")
    predictive = evidence(found, "medication_recovery", "names (predictive value)")
    assert predictive.n == 19_003
    assert table["same_name"].round(4).tolist()[:3] == [0.5062, 0.1227, 0.0305]
    assert table["n"].tolist() == [9_619, 2_331, 579, 39, 0, table["n"].iloc[5]]
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, len(rows), (2, 4_000_000))
    day = (rows["admitted_on"] - pd.Timestamp(0)).dt.days.to_numpy()
    birth = day - 365.25 * rows["age"].to_numpy()
    same = (np.abs(birth[left] - birth[right]) < 365.25) & (left != right)
    for role in ("sex", "blood_type"):
        code, _ = pd.factorize(rows[role])
        same &= code[left] == code[right]
    # The reference, 33.2 expected, came from sampled pairs; all pairs give 34.09.
    assert predictive.detail["expected"] == pytest.approx(34.09, abs=0.01)
    assert predictive.detail["expected"] == pytest.approx(19_003 * same.mean(), abs=1.6)
    assert (predictive.low, predictive.high) == pytest.approx((0.0, 0.36), abs=5e-3)
    gaps = {gap.part: gap.reason for gap in found["medication_recovery"].gaps}
    assert gaps == {"stay": "NO_MAPPING", "readmission": "NO_PATIENT_ID"}


def test_medication_proxies(found, rows):
    item = evidence(found, "medication_recovery", "any medication")
    samples = [group.to_numpy() for _, group in rows.groupby("medication")["length_of_stay"]]
    assert item.p_support == near(anova_oneway(samples, use_var="unequal").pvalue)
    assert item.role == "exploratory"


def strata(rows):
    band = np.digitize(rows["age"], [35, 50, 65])
    return pd.factorize(rows["condition"] + band.astype(str))[0]


@pytest.mark.parametrize("role", ["admission_type", "medication", "test_result"])
def test_insurance_and_care(found, rows, role):
    deviation, covariance = 0, 0
    for _, group in rows.groupby(strata(rows)):
        table = pd.crosstab(group["insurer"], group[role]).to_numpy(dtype=float)
        across, down, n = table.sum(1), table.sum(0), table.sum()
        deviation = deviation + (table - np.outer(across, down) / n)[:-1, :-1].ravel()
        left, right = ((np.diag(m) - np.outer(m, m) / n)[:-1, :-1] for m in (across, down))
        covariance = covariance + np.kron(left, right) / (n - 1)
    q, df = deviation @ np.linalg.solve(covariance, deviation), deviation.size

    def limit(p):
        below = stats.chi2.cdf(q, df) <= p
        return 0.0 if below else optimize.brentq(lambda w: stats.ncx2.cdf(q, df, 50_000 * w**2) - p, 1e-6, 1)

    item = evidence(found, "insurance_access", role)
    assert (item.estimate, item.p_support) == near((np.sqrt(max(0, q - df) / 50_000), stats.chi2.sf(q, df)))
    assert (item.low, item.high, item.high90) == near((limit(0.975), limit(0.025), limit(0.05)))
    assert item.p_absence == near(stats.ncx2.cdf(q, df, 50_000 * 0.05**2))
    assert item.detail["strata"] == 24


def test_insurance_and_stays(found, rows):
    item = evidence(found, "insurance_access", "length_of_stay")
    insurer, _ = pd.factorize(rows["insurer"])
    design = np.column_stack([np.eye(5)[insurer][:, 1:], np.eye(24)[strata(rows)]])
    fit = sm.OLS(rows["length_of_stay"].to_numpy(), design).fit(cov_type="HC1")
    wald_test = fit.wald_test(np.eye(4, 28), use_f=False, scalar=True)
    assert (item.detail["statistic"], item.p_support) == near((wald_test.statistic, wald_test.pvalue))
    largest = evidence(found, "insurance_access", "largest difference")
    assert largest.estimate == pytest.approx(0.035, abs=5e-4)


def test_raw_rows_support_a_claim_that_one_row_per_admission_does_not(raw):
    every = one_row_each(*raw, keep_duplicates=True)
    found = {finding.finding: finding for finding in state(every, SETTINGS)}
    item = evidence(found, "billing_variation", "hospitals")
    assert found["billing_variation"].verdict == "supported"
    assert (item.estimate, item.low, item.high) == pytest.approx((0.283, 0.267, 0.299), abs=5e-4)
    assert (item.detail["statistic"], item.p_support) == pytest.approx((1.99, 0.001), abs=5e-3)
    assert "names are persons" in " ".join(found["medication_recovery"].notes)
