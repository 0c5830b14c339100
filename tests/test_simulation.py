import json
import re
from datetime import date
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from scipy import stats

import hi_ml
from hi_ml.data.simulation import simulate, truth, write
from hi_ml.data.simulation.heavy_bills import Mixtures
from hi_ml.data.simulation.vocabulary import FIRST_NAMES, SURNAMES, hospital_names, rank_shares

SCENARIOS = ("planted", "noise")
COLUMNS = {
    "Name": pa.string(),
    "Age": pa.int64(),
    "Gender": pa.string(),
    "Blood Type": pa.string(),
    "Medical Condition": pa.string(),
    "Date of Admission": pa.date32(),
    "Doctor": pa.string(),
    "Hospital": pa.string(),
    "Insurance Provider": pa.string(),
    "Billing Amount": pa.float64(),
    "Room Number": pa.int64(),
    "Admission Type": pa.string(),
    "Discharge Date": pa.date32(),
    "Medication": pa.string(),
    "Test Results": pa.string(),
}
CLASSES = ("Abnormal", "Inconclusive", "Normal")
LAST_DAY = date(2024, 5, 7)
DAYS = np.arange(1, 31)


@pytest.fixture(scope="module")
def worlds():
    """Both scenarios in full size, their truths, and their originals as a frame."""
    return {scenario: World(simulate(scenario)) for scenario in SCENARIOS}


@pytest.fixture(scope="module", params=SCENARIOS)
def world(request, worlds):
    return worlds[request.param]


@pytest.fixture(scope="module")
def planted(worlds):
    return worlds["planted"]


@pytest.fixture(scope="module")
def noise(worlds):
    return worlds["noise"]


class World:
    def __init__(self, simulated):
        self.simulated = simulated
        self.truth = truth(simulated)
        self.originals = originals(simulated)

    @cached_property
    def oracle(self):
        return Oracle(self)


def originals(simulated):
    """The rows that copy no other, with their stay in days and true patient."""
    frame = simulated.table.to_pandas().assign(patient=simulated.patient)
    for column in ("Date of Admission", "Discharge Date"):
        frame[column] = pd.to_datetime(frame[column])
    frame["stay"] = (frame["Discharge Date"] - frame["Date of Admission"]).dt.days
    return frame[simulated.original == np.arange(len(frame))]


# The table


def test_the_table_has_the_fifteen_typed_columns_without_gaps(world):
    table = world.simulated.table
    assert dict(zip(table.column_names, table.schema.types, strict=True)) == COLUMNS
    assert table.column_names == list(COLUMNS)
    assert table.num_rows == 55_500
    assert sum(column.null_count for column in table.columns) == 0


def test_values_stay_in_their_ranges(world):
    frame = world.originals
    assert frame["stay"].min() == 1
    assert frame["stay"].max() == 30
    assert frame["Date of Admission"].min() == pd.Timestamp(2019, 5, 8)
    assert frame["Date of Admission"].max() == pd.Timestamp(LAST_DAY)
    assert frame["Room Number"].agg(["min", "max"]).tolist() == [101, 500]
    # A readmission after a birthday can take a patient of 85 to 86.
    assert frame["Age"].min() == 18
    assert frame["Age"].max() in (85, 86)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_equal_arguments_give_equal_tables_and_other_seeds_others(scenario):
    first, again, other = (simulate(scenario, 2_000, seed=seed) for seed in (3, 3, 4))
    assert first.table.equals(again.table)
    assert (first.original == again.original).all()
    assert (first.patient == again.patient).all()
    assert not any(first.table[name].equals(other.table[name]) for name in COLUMNS)


def test_a_setting_changes_only_what_depends_on_it():
    few, many = (simulate("planted", 2_000, hospitals=hospitals).table for hospitals in (5, 50))
    changed = {name for name in COLUMNS if not few[name].equals(many[name])}
    assert changed == {"Hospital", "Billing Amount"}
    assert simulate("noise", 2_000, effect=1.0).table.equals(simulate("noise", 2_000, effect=4.0).table)


def test_the_last_rows_copy_others_in_all_but_age(world):
    simulated = world.simulated
    frame = simulated.table.to_pandas()
    copies = np.flatnonzero(simulated.original != np.arange(len(frame)))
    assert copies.tolist() == list(range(50_000, 55_500))
    source = simulated.original[copies]
    assert source.max() < 50_000
    assert len(np.unique(source)) == 5_500
    rest = [name for name in COLUMNS if name != "Age"]
    pd.testing.assert_frame_equal(
        frame.loc[copies, rest].reset_index(drop=True), frame.loc[source, rest].reset_index(drop=True)
    )
    assert (simulated.patient[copies] == simulated.patient[source]).all()
    offsets = frame["Age"].to_numpy()[copies] - frame["Age"].to_numpy()[source]
    values, counts = np.unique(offsets, return_counts=True)
    assert values.tolist() == list(range(-5, 5))
    assert stats.chisquare(counts).pvalue > 1e-4


# The quirks of noise


def pairs(values):
    counts = values.value_counts()
    return int((counts * (counts - 1) // 2).sum())


def canonical(hospitals):
    """Case folded, punctuation removed, words sorted."""
    return hospitals.map(lambda name: " ".join(sorted(re.sub(r"[^a-z ]", "", name.casefold()).split())))


@pytest.mark.parametrize(
    ("quirk", "target", "tolerance"),
    [
        # Targets: the same measured on other draws of this world. Tolerances: some 4 standard errors.
        (lambda frame: frame["Name"].str.casefold().nunique(), 39_750, 500),
        (lambda frame: pairs(frame["Name"].str.casefold()), 19_150, 1_500),
        (lambda frame: pairs(frame["Doctor"]), 19_150, 1_500),
        (lambda frame: frame["Hospital"].nunique(), 39_313, 450),
        (lambda frame: canonical(frame["Hospital"]).nunique(), 36_487, 450),
        (lambda frame: (canonical(frame["Hospital"]).value_counts() == 1).sum(), 32_555, 600),
        (lambda frame: pairs(canonical(frame["Hospital"])), 80_317, 5_000),
        (lambda frame: frame["Hospital"].str.contains("-").sum(), 50_000 / 3, 430),
        (lambda frame: frame["Hospital"].str.contains(",").sum(), 50_000 / 3, 430),
        (lambda frame: frame["Hospital"].str.contains(r"\bSons\b").sum(), 50_000 / 18, 210),
        (lambda frame: (frame["Billing Amount"] < 0).sum(), 85, 37),
        (lambda frame: frame["Billing Amount"].std(), 14_180, 130),
    ],
)
def test_noise_has_the_quirks_of_the_kaggle_table(noise, quirk, target, tolerance):
    assert quirk(noise.originals) == pytest.approx(target, abs=tolerance)


def test_a_tenth_of_the_copies_in_noise_is_exact(noise):
    assert noise.simulated.table.to_pandas().duplicated().sum() == pytest.approx(550, abs=90)


def test_words_of_scattered_hospitals_stand_in_any_order(noise):
    names = noise.originals["Hospital"]
    three = names[names.str.contains(",")].str.split()
    for word in (lambda words: words.index("and"), lambda words: [w.endswith(",") for w in words].index(True)):
        assert stats.chisquare(np.bincount(three.map(word), minlength=4)).pvalue > 1e-4
    two = names[names.str.contains(r"\bLLC\b")].str.split()
    assert (two.str[0] == "LLC").mean() == pytest.approx(0.5, abs=0.04)


def test_letters_of_names_are_large_or_small_by_chance(world):
    letters = "".join(world.originals["Name"].str.replace(" ", ""))
    assert sum(letter.isupper() for letter in letters) / len(letters) == pytest.approx(0.5, abs=0.005)
    folded = {name.casefold() for name in FIRST_NAMES}, {name.casefold() for name in SURNAMES}
    words = world.originals["Name"].str.casefold().str.split(" ", expand=True)
    assert words[0].isin(folded[0]).all()
    assert words[1].isin(folded[1]).all()
    assert world.originals["Name"].str.split(" ").str[0].str.casefold().duplicated().any()


@pytest.mark.parametrize(
    "column",
    ["Gender", "Blood Type", "Medical Condition", "Insurance Provider", "Room Number", "Admission Type", "Medication",
     "Test Results", "stay", "Age", "Date of Admission"],
)  # fmt: skip
def test_columns_of_noise_are_uniform_and_tell_nothing_of_the_outcomes(noise, column):
    frame = noise.originals
    counts = frame[column].value_counts()
    assert len(counts) == {"Room Number": 400, "Age": 68, "stay": 30, "Date of Admission": 1_827}.get(
        column, len(counts)
    )
    assert stats.chisquare(counts).pvalue > 1e-4
    groups = frame[column].astype("category").cat.codes
    for outcome in {"stay", "Billing Amount"} - {column}:
        assert stats.f_oneway(*(values for _, values in frame[outcome].groupby(groups))).pvalue > 1e-4
    if column != "Test Results":
        assert stats.chi2_contingency(pd.crosstab(groups, frame["Test Results"])).pvalue > 1e-4


def test_each_patient_of_noise_comes_once(noise):
    assert noise.originals["patient"].is_unique


# The planted claims


def estimates(simulated):
    """What each finding estimates, on originals: value and standard error, in multiples of the smallest effect."""
    frame = originals(simulated)
    older = frame["Age"] >= 50
    emergency = frame["Admission Type"] == "Emergency"
    advanced = frame["Medication"].isin(["Lipitor", "Penicillin"])
    index, again = readmissions(frame)
    found = {name: difference(frame["Medical Condition"] == name, older, 0.03) for name in ("Hypertension", "Diabetes")}
    found["emergency"] = difference(frame["stay"], emergency, 1.0)
    found["medication"] = difference(frame["stay"], ~advanced, 1.0)
    found["readmission"] = difference(again[index], ~advanced[index], 0.02)
    counts = pd.crosstab(frame["Insurance Provider"], frame["Admission Type"])
    w_squared = (stats.chi2_contingency(counts).statistic - 8) / len(frame)
    bills = frame.groupby("Insurance Provider")["Billing Amount"]
    within = np.average(bills.var(), weights=bills.size())
    f_squared = np.average((bills.mean() - frame["Billing Amount"].mean()) ** 2, weights=bills.size()) / within
    for name, square in (("insurer_w", w_squared), ("insurer_f", f_squared - 4 / len(frame))):
        # Both are near-normal with standard error 1 / sqrt(n) where they are far from 0.
        found[name] = np.sqrt(max(square, 0)) / 0.05, 1 / np.sqrt(len(frame)) / 0.05
    return found


def difference(values, first, unit):
    """Mean where `first` holds less mean elsewhere, and its standard error, in units."""
    here, there = values[first].astype(float), values[~first].astype(float)
    error = np.sqrt(here.var() / len(here) + there.var() / len(there))
    return (here.mean() - there.mean()) / unit, error / unit


def readmissions(frame):
    """Whether the discharge is followed by 30 days inside the table, and by an admission in them."""
    ordered = frame.sort_values("Date of Admission")
    following = ordered.groupby("patient")["Date of Admission"].shift(-1).reindex(frame.index)
    window = pd.Timedelta(days=30)
    return frame["Discharge Date"] + window <= pd.Timestamp(LAST_DAY), following <= frame["Discharge Date"] + window


@pytest.mark.parametrize("effect", [0.0, 1.0, 2.0, 4.0])
def test_every_planted_claim_holds_at_its_size_in_the_margin(effect):
    found = estimates(simulate("planted", effect=effect, seed=1))
    for name, (value, error) in found.items():
        if effect or name not in ("insurer_w", "insurer_f"):
            assert abs(value - effect) < 4 * error, name
        else:
            assert value < 4 * error, name


def test_hospitals_differ_by_the_planted_share_of_the_mean_bill():
    frame = originals(simulate("planted", effect=2.0, hospitals=2_000))
    bills = frame.groupby("Hospital")["Billing Amount"]
    size, means = bills.size(), bills.mean()
    within = ((size - 1) * bills.var()).sum() / (len(frame) - len(size))
    between = ((size * (means - frame["Billing Amount"].mean()) ** 2).sum() / (len(size) - 1) - within) / (
        (len(frame) - (size**2).sum() / len(frame)) / (len(size) - 1)
    )
    # Mean absolute difference of two draws of a normal: 1.128 standard deviations.
    assert 1.128 * np.sqrt(between) / 25_500 == pytest.approx(0.20, rel=0.08)


@pytest.mark.parametrize("effect", [1.0, 2.0])
def test_planted_probabilities_hold_exactly(effect):
    process = simulate("planted", 1, effect=effect).process
    types = process.admission_type
    assert types.sum(axis=1) == pytest.approx(1)
    assert types.mean(axis=0) == pytest.approx(1 / 3)
    # Otherwise insurers would differ in stays and bills by way of their emergencies.
    assert types[:, 1] == pytest.approx(1 / 3)
    assert np.sqrt(((types - 1 / 3) ** 2 / (1 / 3)).sum() / 5) == pytest.approx(0.05 * effect, rel=1e-12)
    gaps = process.condition[1] - process.condition[0]
    assert gaps == pytest.approx(np.array([-0.5, -0.5, -0.5, 1, 1, -0.5]) * 0.03 * effect)
    assert process.condition.sum(axis=1) == pytest.approx(1)
    again = 0.1 + 0.02 * effect
    assert process.readmission == pytest.approx([again, again, 0.1, again, 0.1])
    assert process.stay.admission_type[1] - process.stay.admission_type[[0, 2]] == pytest.approx(effect)
    assert process.stay.medication[[0, 1, 3]] - process.stay.medication[2] == pytest.approx(effect)


@pytest.mark.parametrize("effect", [0.0, 5.0])
def test_expected_stays_lie_inside_their_range_at_any_effect(effect):
    expected = truth(simulate("planted", 5_000, effect=effect)).expectation
    days = expected.loc[expected["task"] == "length_of_stay", "expectation"]
    assert days.between(2, 29).all()


def test_shares_of_conditions_change_at_fifty():
    frame = originals(simulate("planted", effect=4.0))
    rising = frame["Medical Condition"].isin(["Hypertension", "Diabetes"])
    for age, share in ((49, 1 / 3 - 0.12), (50, 1 / 3 + 0.12)):
        here = rising[frame["Age"] == age]
        assert here.mean() == pytest.approx(share, abs=4 * np.sqrt(0.25 / len(here)))


def test_means_and_variances_of_stays_are_those_of_their_chances(planted):
    stay = planted.simulated.process.stay
    means = stay.mean_of_all(np.arange(18, 86))
    chances = stay.chances(means)
    assert chances.sum(axis=-1) == pytest.approx(1)
    assert chances @ DAYS == pytest.approx(means)
    assert chances @ DAYS**2 - means**2 == pytest.approx(stay.variance(means))


def test_rows_stand_in_no_order(planted):
    frame = planted.originals.reset_index(names="place").sort_values("Date of Admission")
    later = frame.groupby("patient")["place"].diff().dropna() > 0
    assert later.mean() == pytest.approx(0.5, abs=0.03)
    assert abs(stats.spearmanr(planted.originals["Date of Admission"].rank(), np.arange(50_000)).statistic) < 0.02


def test_doctors_are_other_people_than_their_patients(world):
    assert (world.originals["Doctor"].str.casefold() == world.originals["Name"].str.casefold()).mean() < 0.001


def test_every_hospital_has_enough_rows(planted):
    volume = planted.originals["Hospital"].value_counts()
    assert len(volume) == 200
    assert volume.min() > 80


def test_readmitted_patients_stay_the_same_people(planted):
    frame = planted.originals.assign(Name=planted.originals["Name"].str.casefold()).sort_values("Date of Admission")
    people = frame.groupby("patient")
    same = people[["Name", "Gender", "Blood Type"]]
    assert same.first().equals(same.last())
    assert same.min().equals(same.max())
    assert planted.originals["Name"].groupby(planted.originals["patient"]).nunique().max() > 1
    # In years from any day, a birth date known to the year from each admission: they differ by less than a year.
    born = frame["Date of Admission"].map(pd.Timestamp.toordinal) / 365.25 - frame["Age"]
    assert (born.groupby(frame["patient"]).max() - born.groupby(frame["patient"]).min()).max() < 1 + 1e-9
    wait = (frame["Date of Admission"] - people["Discharge Date"].shift()).dt.days.dropna()
    assert len(wait) > 5_000
    assert wait.between(1, 30).all()
    assert stats.chisquare(wait.value_counts()).pvalue > 1e-4
    assert people.size().max() > 2


def compatible_pairs(frame):
    """Same-name pairs that agree on gender, blood type and birth date, observed and expected by chance."""
    frame = frame.assign(
        Name=frame["Name"].str.casefold(),
        born=frame["Date of Admission"].map(pd.Timestamp.toordinal) / 365.25 - frame["Age"],
    )
    left, right = (frame.reset_index(names=side)[[side, "Name", "Gender", "Blood Type", "born"]] for side in ("i", "j"))
    both = left.merge(right, on="Name").query("i < j")
    agree = (
        (both["Gender_x"] == both["Gender_y"])
        & (both["Blood Type_x"] == both["Blood Type_y"])
        & ((both["born_x"] - both["born_y"]).abs() < 1)
    )
    # Chance agreement: one in two genders, one in eight blood types, 2.86 % of birth dates.
    return agree.sum(), len(both) / 2 / 8 * 0.0286


def test_names_link_admissions_where_patients_are_real_and_only_there(planted, noise):
    observed, expected = compatible_pairs(planted.originals)
    assert observed > 5_000
    assert expected / observed < 0.02
    observed, expected = compatible_pairs(noise.originals)
    assert stats.poisson.sf(observed - 1, expected) > 1e-4


# The truth


class Oracle:
    """Bayes predictions worked out anew, from the words of the table and the published coefficients alone."""

    def __init__(self, world):
        self.frame, self.facts = world.originals, world.truth.coefficients
        self.known_stays, self.known_results = {}, {}

    def stays(self, horizon):
        """Chances of 1 to 30 days, one row per admission."""
        if horizon not in self.known_stays:
            self.known_stays[horizon] = self._stays(horizon)
        return self.known_stays[horizon]

    def _stays(self, horizon):
        known = self.facts["length_of_stay"]
        mean = (
            known["mean"]
            + known["per_year"] * (self.frame["Age"] - known["centre_age"])
            + self.frame["Medical Condition"].map(known["condition"])
            + self.frame["Admission Type"].map(known["admission_type"])
        ).to_numpy()
        if horizon == "stay":
            return self._beta_binomial(mean + self.frame["Medication"].map(known["medication"]).to_numpy())
        return np.mean([self._beta_binomial(mean + days) for days in known["medication"].values()], axis=0)

    def _beta_binomial(self, mean):
        concentration = self.facts["length_of_stay"]["concentration"]
        means, where = np.unique(mean, return_inverse=True)
        share = (means[:, None] - 1) / 29
        return stats.betabinom.pmf(DAYS - 1, 29, share * concentration, (1 - share) * concentration)[where]

    def results(self, horizon):
        """Chances of the classes, one row per admission."""
        if horizon not in self.known_results:
            self.known_results[horizon] = self._results(horizon)
        return self.known_results[horizon]

    def _results(self, horizon):
        if horizon == "discharge":
            return self._softmax(self.frame["stay"].to_numpy())
        stays = self.stays(horizon)
        return sum(stays[:, [day - 1]] * self._softmax(day) for day in DAYS)

    def _softmax(self, stay):
        known = self.facts["test_results"]
        odds = np.column_stack(
            [
                known["intercept"][level]
                + known["per_year"][level] * (self.frame["Age"] - known["centre_age"])
                + self.frame["Medical Condition"].map({name: by[level] for name, by in known["condition"].items()})
                + known["per_day"][level] * (stay - known["centre_stay"])
                for level in CLASSES
            ]
        )
        return np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)

    def bills(self, horizon):
        """Expected bills, one per admission: so close to the medians that the mean error is the same."""
        known = self.facts["billing"]
        stay = self.frame["stay"].to_numpy() if horizon == "discharge" else self.stays(horizon) @ DAYS
        hospital = self.frame["Hospital"].map(known["hospital"]).to_numpy(float) if known["hospital"] else 0.0
        insurer = self.frame["Insurance Provider"].map(known["insurer"]).to_numpy()
        return known["mean"] + hospital + insurer + known["per_day"] * (stay - self.facts["length_of_stay"]["mean"])


def assert_score(losses, score):
    """The mean loss is the score, up to 4 standard errors."""
    error = losses.std() / np.sqrt(len(losses))
    assert abs(losses.mean() - score) < 4 * error + 1e-9 * abs(score)


def assert_r2(outcome, prediction, score):
    errors, spread = (outcome - prediction) ** 2, (outcome - outcome.mean()) ** 2
    ratio = errors.mean() / spread.mean()
    # The linearised ratio of two means.
    error = (errors - ratio * spread).std() / spread.mean() / np.sqrt(len(outcome))
    assert abs(1 - ratio - score) < 4 * error + 1e-9


@pytest.mark.parametrize("horizon", ["admission", "stay"])
def test_best_scores_for_stays_are_reached_by_the_bayes_rules(world, horizon):
    scores, chances = world.truth.scores["length_of_stay"][horizon]["optimal"], world.oracle.stays(horizon)
    outcome = world.originals["stay"].to_numpy()
    median = 1 + (chances.cumsum(axis=1) < 0.5).sum(axis=1)
    around = np.array([chances[:, max(day - 2, 0) : day + 1].sum(axis=1) for day in DAYS])
    assert_score(np.abs(outcome - median), scores["mae"])
    assert_score((outcome - chances @ DAYS) ** 2, scores["rmse"] ** 2)
    assert_r2(outcome, chances @ DAYS, scores["r2"])
    assert_score((np.abs(outcome - DAYS[around.argmax(axis=0)]) <= 1).astype(float), scores["within_1_day"])


@pytest.mark.parametrize("horizon", ["admission", "stay", "discharge"])
def test_best_scores_for_bills_are_reached_by_the_bayes_rules(world, horizon):
    scores, prediction = world.truth.scores["billing"][horizon]["optimal"], world.oracle.bills(horizon)
    outcome = world.originals["Billing Amount"].to_numpy()
    assert_score(np.abs(outcome - prediction), scores["mae"])
    assert_score((outcome - prediction) ** 2, scores["rmse"] ** 2)
    assert_r2(outcome, prediction, scores["r2"])


@pytest.mark.slow
@pytest.mark.parametrize("horizon", ["admission", "stay", "discharge"])
def test_best_scores_for_results_are_reached_by_the_bayes_rules(world, horizon):
    scores, chances = world.truth.scores["test_results"][horizon]["optimal"], world.oracle.results(horizon)
    hit = np.column_stack([world.originals["Test Results"] == level for level in CLASSES])
    assert_score(-np.log(chances[hit]), scores["log_loss"])
    assert_score(hit[np.arange(len(hit)), chances.argmax(axis=1)].astype(float), scores["accuracy"])
    assert_score(((chances - hit) ** 2).sum(axis=1), scores["brier"])


def test_constant_scores_are_those_of_the_best_constants(world):
    scores = {task: by["admission"]["constant"] for task, by in world.truth.scores.items()}
    for task, column in (("length_of_stay", "stay"), ("billing", "Billing Amount")):
        outcome = world.originals[column].to_numpy()
        assert_score(np.abs(outcome - np.median(outcome)), scores[task]["mae"])
        assert_score((outcome - outcome.mean()) ** 2, scores[task]["rmse"] ** 2)
        assert scores[task]["r2"] == pytest.approx(0, abs=1e-12)
    shares = world.originals["Test Results"].value_counts(normalize=True)
    assert scores["test_results"]["log_loss"] == pytest.approx(stats.entropy(shares), abs=2e-3)
    assert scores["test_results"]["accuracy"] == pytest.approx(shares.max(), abs=0.01)
    assert scores["test_results"]["brier"] == pytest.approx(1 - (shares**2).sum(), abs=2e-3)
    near = [(np.abs(world.originals["stay"] - day) <= 1).mean() for day in DAYS]
    assert scores["length_of_stay"]["within_1_day"] == pytest.approx(max(near), abs=0.008)


def test_scores_have_the_same_names_and_constants_at_every_horizon(world):
    horizons = {task: list(by) for task, by in world.truth.scores.items()}
    assert horizons == {
        "length_of_stay": ["admission", "stay"],
        "billing": ["admission", "stay", "discharge"],
        "test_results": ["admission", "stay", "discharge"],
    }
    names = {
        "length_of_stay": ["mae", "rmse", "r2", "within_1_day"],
        "billing": ["mae", "rmse", "r2"],
        "test_results": ["log_loss", "accuracy", "brier"],
    }
    for task, by in world.truth.scores.items():
        for kinds in by.values():
            assert list(kinds) == ["constant", "optimal", "attainable"]
            assert all(list(scores) == names[task] for scores in kinds.values())
            assert kinds["constant"] == pytest.approx(by["admission"]["constant"], rel=1e-12, abs=1e-12)


def test_nothing_beats_the_constants_of_noise(noise):
    for by in noise.truth.scores.values():
        for kinds in by.values():
            assert kinds["optimal"] == pytest.approx(kinds["constant"], abs=1e-9)
            assert kinds["attainable"] == kinds["optimal"]
    constants = {task: by["admission"]["constant"] for task, by in noise.truth.scores.items()}
    assert constants["length_of_stay"] == pytest.approx(
        {"mae": 7.5, "rmse": np.sqrt(899 / 12), "r2": 0, "within_1_day": 0.1}, abs=1e-9
    )
    assert constants["billing"] == pytest.approx({"mae": 12_270.4, "rmse": 14_180.4, "r2": 0}, abs=0.1)
    assert constants["test_results"] == pytest.approx(
        {"log_loss": np.log(3), "accuracy": 1 / 3, "brier": 2 / 3}, abs=1e-9
    )


@pytest.mark.parametrize(
    ("task", "horizon", "score", "expected", "tolerance"),
    [
        ("length_of_stay", "admission", "mae", 4.445, 0.01),
        ("length_of_stay", "admission", "rmse", 5.434, 0.01),
        ("length_of_stay", "admission", "r2", 0.208, 0.05),
        ("length_of_stay", "admission", "within_1_day", 0.202, 0.01),
        ("billing", "admission", "mae", 6_514, 0.01),
        ("billing", "discharge", "mae", 6_383, 0.01),
        ("test_results", "admission", "log_loss", 0.950, 0.01),
        ("test_results", "discharge", "log_loss", 0.930, 0.01),
        ("test_results", "admission", "accuracy", 0.55, 0.02),
        ("test_results", "discharge", "accuracy", 0.56, 0.02),
    ],
)
def test_planted_optimum_lies_where_the_specification_puts_it(planted, task, horizon, score, expected, tolerance):
    assert planted.truth.scores[task][horizon]["optimal"][score] == pytest.approx(expected, rel=tolerance)


@pytest.fixture(scope="module")
def many_hospitals():
    """So many hospitals that learning their effects costs much."""
    return World(simulate("planted", hospitals=2_000))


@pytest.mark.slow
@pytest.mark.parametrize("horizon", ["admission", "stay", "discharge"])
def test_attainable_bills_are_those_of_shrunken_hospital_means(many_hospitals, horizon):
    world = many_hospitals
    scores, known = world.truth.scores["billing"][horizon], world.oracle.bills(horizon)
    frame, prior = world.originals, world.truth.coefficients["billing"]["hospital_sd"] ** 2
    outcome, effect = (
        frame["Billing Amount"].to_numpy(),
        frame["Hospital"].map(world.truth.coefficients["billing"]["hospital"]),
    )
    residual = pd.Series(outcome - known, frame.index) + effect
    train = np.random.default_rng(0).random(len(frame)) < 0.6
    totals = residual[train].groupby(frame["Hospital"][train]).agg(["sum", "size"])
    shrunken = prior * totals["sum"] / (scores["optimal"]["rmse"] ** 2 + prior * totals["size"])
    learned = (known - effect + frame["Hospital"].map(shrunken).fillna(0.0)).to_numpy()[~train]
    outcome, known, place = outcome[~train], known[~train], frame["Hospital"][~train]
    for name, loss, power in (("mae", np.abs, 1), ("rmse", np.square, 2)):
        extra = pd.Series(loss(outcome - learned) - loss(outcome - known), place.index)
        expected = scores["attainable"][name] ** power - scores["optimal"][name] ** power
        sums = (extra - expected).groupby(place).sum()
        assert expected > 0
        assert abs(sums.sum()) < 4 * np.sqrt((sums**2).sum())
    total = scores["constant"]["rmse"] ** 2
    assert scores["attainable"]["r2"] == pytest.approx(1 - scores["attainable"]["rmse"] ** 2 / total, abs=1e-12)


def test_expectations_cover_every_row_task_horizon_and_class(world):
    frame = world.truth.expectation
    assert list(frame) == ["row", "task", "horizon", "level", "expectation"]
    assert frame["expectation"].notna().all()
    blocks = frame.groupby(["task", "horizon", "level"], observed=True)["row"]
    regressions = {("length_of_stay", h, "") for h in ("admission", "stay")}
    regressions |= {("billing", h, "") for h in ("admission", "stay", "discharge")}
    classes = {("test_results", h, level) for h in ("admission", "stay", "discharge") for level in CLASSES}
    assert set(blocks.groups) == regressions | classes
    for _, rows in blocks:
        assert (rows.to_numpy() == np.arange(1, 55_501)).all()


def expectation_of(world, task, horizon, level=""):
    frame = world.truth.expectation
    chosen = (frame["task"] == task) & (frame["horizon"] == horizon) & (frame["level"] == level)
    return frame.loc[chosen, "expectation"].to_numpy()


def test_copies_have_the_expectations_of_their_originals(planted):
    expected = expectation_of(planted, "length_of_stay", "admission")
    assert (expected == expected[planted.simulated.original]).all()


@pytest.mark.parametrize(
    ("task", "horizon"),
    [(task, horizon) for task in ("length_of_stay", "billing", "test_results")
     for horizon in ("admission", "stay", "discharge") if (task, horizon) != ("length_of_stay", "discharge")],
)  # fmt: skip
def test_expectations_are_those_of_the_oracle_and_calibrated(world, task, horizon):
    oracle, frame = world.oracle, world.originals
    if task == "test_results":
        wanted = dict(zip(CLASSES, oracle.results(horizon).T, strict=True))
        outcomes = {level: (frame["Test Results"] == level).to_numpy(float) for level in CLASSES}
    else:
        wanted = {"": oracle.stays(horizon) @ DAYS if task == "length_of_stay" else oracle.bills(horizon)}
        outcomes = {"": frame["stay" if task == "length_of_stay" else "Billing Amount"].to_numpy(float)}
    for level, outcome in outcomes.items():
        expected = expectation_of(world, task, horizon, level)[: len(frame)]
        np.testing.assert_allclose(expected, wanted[level], rtol=1e-9)
        assert_score(outcome - expected, 0.0)
        if np.ptp(expected) > 1e-6:
            line = stats.linregress(expected, outcome)
            assert abs(line.slope - 1) < 4 * line.stderr


# Any size, any argument


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("rows", [1, 2, 30])
def test_small_tables_are_whole(scenario, rows, tmp_path):
    simulated = simulate(scenario, rows)
    assert simulated.table.num_rows == len(simulated.original) == len(simulated.patient) == rows
    assert (simulated.original != np.arange(rows)).sum() == round(rows * 5_500 / 55_500)
    found = truth(simulated)
    assert len(found.expectation) == 14 * rows
    assert np.isfinite(found.expectation["expectation"]).all()
    scores = [
        score for by in found.scores.values() for kinds in by.values() for k in kinds.values() for score in k.values()
    ]
    assert np.isfinite(scores).all()
    assert write(simulated, tmp_path / "small.csv")[0].read_text().count("\n") == rows + 1


@pytest.fixture(scope="module")
def turning():
    return World(simulate("interactions", 20_000, seed=3))


def expected(world, task, horizon):
    """The expectations of the originals, shape (n,), or of each class, shape (n, 3)."""
    frame = world.truth.expectation
    frame = frame[(frame["task"] == task) & (frame["horizon"] == horizon)]
    values = np.column_stack([one["expectation"] for _, one in frame.groupby("level", observed=True, sort=False)])
    return values[: len(world.originals)].squeeze()


@pytest.mark.parametrize("horizon", ["admission", "stay"])
def test_stays_with_interactions_are_expected_from_what_is_written_down(turning, horizon):
    """From the coefficients alone: the mean over the types where the type is missing."""
    facts, frame = turning.truth.coefficients, turning.originals
    together, stay = facts["interactions"]["length_of_stay"], facts["length_of_stay"]
    means = []
    for age, condition, kind in zip(frame["Age"], frame["Medical Condition"], frame["Admission Type"], strict=True):
        side = together["from_60" if age >= 60 else "under_60"][condition]
        turn = side[kind] if isinstance(kind, str) else np.mean(list(side.values()))
        means.append(15.5 + stay["per_year"] * (age - 51.5) + stay["condition"][condition] + turn)
    np.testing.assert_allclose(expected(turning, "length_of_stay", horizon), means)
    score = turning.truth.scores["length_of_stay"][horizon]["optimal"]
    assert_score((frame["stay"] - np.array(means)) ** 2, score["rmse"] ** 2)
    assert frame["Admission Type"].isna().mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("horizon", ["admission", "stay", "discharge"])
def test_heavy_bills_and_results_with_interactions_reach_their_best_scores(turning, horizon):
    scores, outcome = turning.truth.scores, turning.originals["Billing Amount"].to_numpy()
    assert_score(
        (outcome - expected(turning, "billing", horizon)) ** 2, scores["billing"][horizon]["optimal"]["rmse"] ** 2
    )
    chances = expected(turning, "test_results", horizon)
    right = np.array([CLASSES.index(result) for result in turning.originals["Test Results"]])
    surprise = -np.log(chances[np.arange(len(right)), right])
    assert_score(surprise, scores["test_results"][horizon]["optimal"]["log_loss"])


def test_the_mean_error_of_heavy_bills_is_that_of_their_medians():
    """By drawing bills, of a few mixtures."""
    rng, centres = np.random.default_rng(0), np.array([-0.5, 0.0, 1.2])
    chances = np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.05, 0.05, 0.9]])
    found = Mixtures.of(centres, chances, 0.8)
    for i, row in enumerate(chances):
        drawn = np.exp(rng.choice(centres, 200_000, p=row) + 0.8 * rng.normal(size=200_000))
        assert found.mean[i] == pytest.approx(drawn.mean(), rel=0.01)
        assert found.variance[i] == pytest.approx(drawn.var(), rel=0.1)
        assert found.mae[i] == pytest.approx(np.abs(drawn - np.median(drawn)).mean(), rel=0.01)


def test_no_claim_holds_where_columns_interact(turning):
    """What condition and type do together adds up to nothing over either, at any age."""
    process = turning.simulated.process
    for axis in (1, 2):
        np.testing.assert_allclose(process.stay.together.sum(axis=axis), 0)
    assert not process.bill.insurer.any()
    assert not process.bill.hospital.any()
    assert len(np.unique(process.readmission)) == 1
    assert {size for one in turning.truth.coefficients["claims"].values() for size in one.values()} == {0}


def test_a_linear_model_loses_where_columns_interact():
    admissions, lost = hi_ml.read("simulated", rows=3_000, scenario="interactions"), {}
    for name in ("lgbm", "linear"):
        run = hi_ml.fit(admissions, "test_results", name, overrides=["recalibrate=false"])
        lost[name] = run.losses().mean() / run.losses(run.constant()).mean()
    assert lost["lgbm"] < lost["linear"] - 0.1


def test_one_hospital_is_enough():
    simulated = simulate("planted", 500, hospitals=1)
    assert set(simulated.table["Hospital"].to_pylist()) == set(simulated.hospitals)
    found = truth(simulated).scores["billing"]["discharge"]
    assert found["constant"]["mae"] >= found["attainable"]["mae"] > found["optimal"]["mae"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scenario": "real"}, "planted, noise; found 'real'"),
        ({"rows": 0}, "at least 1; found 0"),
        ({"seed": -1}, "0 or larger; found -1"),
        ({"effect": -0.1}, "between 0 and 5 .* found -0.1"),
        ({"effect": 5.1}, "between 0 and 5 .* found 5.1"),
        ({"effect": float("nan")}, "found nan"),
        ({"hospitals": 0}, "found 0"),
        ({"hospitals": 10**6}, "found 1000000"),
        ({"scenario": "noise", "hospitals": 200}, "takes no number of hospitals; found 200"),
    ],
)
def test_arguments_out_of_range_are_refused_with_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(**{"rows": 10, **arguments})


# Names


def test_names_are_many_distinct_plain_words():
    words = [*FIRST_NAMES, *SURNAMES]
    assert (len(FIRST_NAMES), len(SURNAMES)) == (700, 1_000)
    assert len({word.casefold() for word in words}) == 1_700
    assert all(re.fullmatch(r"[A-Z][a-z]+", word) for word in words)


@pytest.mark.parametrize(("count", "collision"), [(700, 0.0045), (1_000, 0.0034)])
def test_rank_shares_collide_as_asked_and_fall_as_one_over_rank_plus_a_constant(count, collision):
    shares = rank_shares(count, collision)
    assert shares.sum() == pytest.approx(1)
    assert (shares**2).sum() == pytest.approx(collision, rel=1e-9)
    steps = np.diff(1 / shares)
    assert steps == pytest.approx(np.full(count - 1, steps[0]))
    assert steps[0] > 0


def test_lasting_hospitals_share_no_name_in_any_word_order():
    names = pd.Series(hospital_names(20_000, np.random.default_rng(0)))
    assert canonical(names.str.replace("-", " ")).is_unique
    assert not names.str.split(r"-| and ", regex=True).map(lambda pair: pair[0] == pair[1]).any()


# Files


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files_hold_the_table_and_its_truth(suffix, tmp_path):
    simulated = simulate("planted", 300, seed=5)
    output = tmp_path / "new" / f"a.b{suffix}"
    paths = write(simulated, output)
    beside = [f"a.b.outcomes{suffix}", f"a.b.survey{suffix}"]
    assert [path.name for path in paths] == [f"a.b{suffix}", "a.b.truth.json", "a.b.truth.parquet", *beside]
    assert sorted(path.name for path in output.parent.iterdir()) == sorted(path.name for path in paths)
    if suffix == ".csv":
        options = pyarrow.csv.ConvertOptions(column_types=COLUMNS, strings_can_be_null=False)
        assert pyarrow.csv.read_csv(output, convert_options=options).equals(simulated.table)
        assert re.search(r",20\d\d-\d\d-\d\d,", output.read_text().splitlines()[1])
    else:
        assert pyarrow.parquet.read_table(output).equals(simulated.table)
    found, facts = truth(simulated), json.loads(paths[1].read_text())
    facts.pop("joined")  # of the tables beside
    assert facts == {"coefficients": found.coefficients, "scores": found.scores}
    pd.testing.assert_frame_equal(pd.read_parquet(paths[2]), found.expectation)


def test_a_failed_write_leaves_nothing_and_harms_nothing(tmp_path, monkeypatch):
    output = tmp_path / "table.csv"
    write(simulate("noise", 20), output)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(pyarrow.parquet, "write_table", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write(simulate("noise", 30), output)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_suffixes_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"must end in .csv or .parquet; found 'table.txt'"):
        write(simulate("noise", 20), tmp_path / "table.txt")
    assert not list(tmp_path.iterdir())


# Over many seeds


@pytest.mark.slow
def test_best_bills_explain_on_average_what_the_specification_says():
    scores = [truth(simulate(rows=12_000, seed=seed)).scores["billing"] for seed in range(20)]
    # The hospitals are drawn anew with each seed, and their variance with them: 4 standard errors of this mean are 8 %.
    for horizon, expected in (("admission", 0.251), ("discharge", 0.281)):
        assert np.mean([by[horizon]["optimal"]["r2"] for by in scores]) == pytest.approx(expected, rel=0.08)


def test_a_survey_and_outcomes_lie_beside_a_table_that_stays_as_it_was(tmp_path):
    simulated = simulate("planted", 20_000, seed=3)
    write(simulated, tmp_path / "admissions.csv")
    survey, outcomes = (pd.read_csv(tmp_path / f"admissions.{name}.csv", dtype=str) for name in ("survey", "outcomes"))
    table, facts = (
        pd.read_csv(tmp_path / "admissions.csv", dtype=str),
        json.loads((tmp_path / "admissions.truth.json").read_text())["joined"],
    )
    assert survey["Facility"].is_unique
    assert not outcomes.duplicated(["Name", "Date of Admission"]).any()
    whole = table.merge(survey, left_on="Hospital", right_on="Facility").merge(outcomes, how="left")
    assert len(whole) == len(table)
    assert whole["Complication"].notna().all()
    rate = whole.assign(yes=whole["Complication"] == "Yes", points=whole["Patient Survey"].astype(float))
    by_hospital = rate.groupby("Facility")[["yes", "points"]].mean()
    slope = np.polyfit(by_hospital["points"], by_hospital["yes"], 1)[0]
    variance = by_hospital["points"].var()
    attenuated = facts["share_per_survey_point"] * (1 - facts["survey_error_sd"] ** 2 / variance)
    assert slope == pytest.approx(attenuated, rel=0.2)
    years = np.polyfit(rate["Age"].astype(float), rate["yes"], 1)[0]
    assert years == pytest.approx(facts["share_per_year_of_age"], rel=0.25)


def test_in_noise_nothing_beside_the_table_tells_of_it(tmp_path):
    paths = write(simulate("noise", 3_000, seed=3), tmp_path / "noise.parquet")
    assert [path.name for path in paths[3:]] == ["noise.outcomes.parquet"]  # its hospitals are of one admission each
    outcomes = pd.read_parquet(paths[3])
    assert (outcomes["Complication"] == "Yes").mean() == pytest.approx(0.3, abs=0.03)
