"""The recipe over several splits: its skills, their corrected interval, and how often each word was said."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import hi_ml
from hi_ml.app.errors import NotTrainable
from hi_ml.evaluation.assessment import catalogue
from hi_ml.evaluation.repeats import ASSESSMENTS
from hi_ml.modeling.problem import resplit
from hi_ml.modeling.splits import PARTS

REPEATS, (ASSESSMENT,) = 4, ASSESSMENTS


@pytest.fixture(scope="module")
def run():
    fitted = hi_ml.fit(hi_ml.read("simulated", rows=900), "billing", "linear", overrides=[f"split.repeats={REPEATS}"])
    verdict = hi_ml.assess(fitted, "verdict")["verdict"]
    return replace(fitted, results={"verdict": verdict})


@pytest.fixture(scope="module")
def recipe(run):
    return ASSESSMENT.measure(run, None)


def test_the_run_itself_is_that_of_one_split(run):
    once = hi_ml.fit(hi_ml.read("simulated", rows=900), "billing", "linear")
    assert "repeats" not in once.method.assessments
    np.testing.assert_array_equal(once.predicted, run.predicted)


def test_the_interval_is_that_of_nadeau_and_bengio_over_the_splits(run, recipe):
    skills = np.array(recipe.skills)
    assert (len(skills), recipe.splits, recipe.untrained) == (REPEATS, REPEATS, 0)
    assert len(set(recipe.skills)) == REPEATS
    assert skills[0] == run.results["verdict"].skill
    tested, trained = (int(run.problem.where(part).sum()) for part in ("test", "train"))
    error = np.sqrt((1 / REPEATS + tested / trained) * skills.var(ddof=1))
    wide, narrow = (stats.t.ppf(level, REPEATS - 1) * error for level in (0.975, 0.95))
    assert (recipe.high95 - recipe.skill, recipe.skill - recipe.low95) == pytest.approx((wide, wide))
    assert (recipe.high90 - recipe.skill, recipe.skill - recipe.low90) == pytest.approx((narrow, narrow))
    assert recipe.skill == pytest.approx(skills.mean())


def test_each_split_has_its_verdict_and_the_shares_say_how_often_each_was_given(run, recipe):
    assert sum(recipe.shares.values()) == pytest.approx(1)
    assert run.results["verdict"].verdict in recipe.shares
    for word, share in recipe.shares.items():
        assert f"{word.replace('_', ' ')} in {round(share * REPEATS)}" in recipe.sentence
    assert "for the recipe" in recipe.sentence


def test_the_shares_are_those_of_fits_made_one_by_one(run, recipe):
    """The words of the other splits, by fitting each as a run of its own."""
    how = run.method.assessments["verdict"]
    words = Counter([run.results["verdict"].verdict])
    for child in np.random.SeedSequence([0, 8]).spawn(REPEATS - 1):
        seed = int(child.generate_state(1)[0])
        other = hi_ml.fit(hi_ml.read("simulated", rows=900), "billing", "linear", seed=seed)
        verdict = catalogue()["verdict"].measure(other, how)
        assert verdict.skill in recipe.skills
        words[verdict.verdict] += 1
    assert {word: count / REPEATS for word, count in words.items()} == recipe.shares


def test_another_split_keeps_groups_and_columns(run):
    other = resplit(run.problem, run.method.model, run.method.split, seed=1)
    assert (other.parts != run.problem.parts).any()
    torn = [set(other.group[other.where(one)]) & set(other.group[other.where(two)]) for one, two in
            (PARTS[:2], PARTS[1:], PARTS[::2])]  # fmt: skip
    assert not any(torn)
    assert list(other.features.frame) == list(run.problem.features.frame)


def test_a_split_that_cannot_be_trained_is_counted_and_left_out(run, monkeypatch):
    from hi_ml.evaluation import repeats  # noqa: PLC0415 -- what is patched

    made = []

    def now_and_then(*given, **how):
        made.append(how)
        if len(made) == 1:
            raise NotTrainable("nothing to judge by")
        return resplit(*given, **how)

    monkeypatch.setattr(repeats, "resplit", now_and_then)
    found = ASSESSMENT.measure(run, None)
    assert (found.splits, found.untrained) == (REPEATS - 1, 1)


def test_a_date_makes_one_split_only():
    with pytest.raises(ValueError, match="there is one split at a date: repeats=1 with split=temporal, found 2"):
        hi_ml.pose(hi_ml.read("simulated", rows=900), "billing", split="temporal", overrides=["split.repeats=2"])


def test_the_metrics_are_those_of_its_file(recipe):
    content = ASSESSMENT.table(recipe)
    metrics = ASSESSMENT.metrics(content)
    assert metrics["recipe_skill"] == recipe.skill
    assert (metrics["recipe_skill_low"], metrics["recipe_skill_high"]) == (recipe.low95, recipe.high95)
    assert {name: share for name, share in metrics.items() if "share" in name} == {
        f"recipe_share_{word}": share for word, share in recipe.shares.items()
    }
