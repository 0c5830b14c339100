"""What would other splits have said? The recipe, fitted anew on each, is judged over all of them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from hi_ml.app.errors import NotTrainable
from hi_ml.app.text import percent
from hi_ml.evaluation.assessment import Assessment, FittedRun, catalogue
from hi_ml.evaluation.judgement import Judging, Verdict, Word, decide
from hi_ml.evaluation.training import fit
from hi_ml.modeling.problem import resplit
from hi_ml.statistics.groups import corrected_interval

_STREAM = 8  # of the seed: splits of their own
_ENDS = {"skill": "skill", "skill_low": "low95", "skill_high": "high95"}


@dataclass(frozen=True)
class Recipe:
    """The verdict on a way of making models, where that of a run is on one fitted model and one split."""

    verdict: Word
    score: str  # the loss that skill is a share of
    skill: float  # mean over splits, with intervals by the corrected resampled t
    low95: float
    high95: float
    low90: float
    high90: float
    smallest_skill: float  # that would matter
    splits: int  # that could be trained
    untrained: int  # that could not: a part of theirs held nothing to learn from or to judge by
    skills: tuple[float, ...]  # of each split, the run's own first
    shares: dict[str, float]  # of the splits, by the verdict on each
    sentence: str


def measure(run: FittedRun, _: object = None) -> Recipe:
    """Refit on as many splits as ``split.repeats`` says, the run's own among them.

    Every split has its own seed, which the learner takes too. The intervals are those of Nadeau & Bengio (2003), see
    `hi_ml.statistics.groups.corrected_interval`: training parts overlap, so that more splits never make them short.
    """
    repeats = run.method.split.repeats
    verdicts = [run.results["verdict"], *_elsewhere(run, repeats - 1)]
    skills = np.array([verdict.skill for verdict in verdicts])
    ratio = run.problem.where("test").sum() / run.problem.where("train").sum()
    wide, narrow = (corrected_interval(skills, ratio=float(ratio), level=level) for level in (0.95, 0.90))
    first, counts = verdicts[0], Counter(verdict.verdict for verdict in verdicts)
    word = decide(wide, narrow, first.smallest_skill)
    said = ", ".join(f"{verdict.replace('_', ' ')} in {count}" for verdict, count in counts.most_common())
    share = f"{percent(wide.value)} % (95 % interval {percent(wide.low)} to {percent(wide.high)})"
    return Recipe(
        verdict=word,
        score=first.score,
        skill=wide.value,
        low95=wide.low,
        high95=wide.high,
        low90=narrow.low,
        high90=narrow.high,
        smallest_skill=first.smallest_skill,
        splits=len(skills),
        untrained=repeats - len(skills),
        skills=tuple(skills.tolist()),
        shares={verdict: count / len(skills) for verdict, count in counts.items()},
        sentence=(
            f"Fitted anew on {len(skills)} splits, {run.method.model.name} has a skill of {share} on "
            f"{run.problem.task.title}: {word.replace('_', ' ')} for the recipe; split by split, {said}."
        ),
    )


def _elsewhere(run: FittedRun, count: int) -> Iterator[Verdict]:
    """Fit and judge on other splits of the same rows."""
    how: Judging = replace(run.method.assessments["verdict"], both=False)
    for child in np.random.SeedSequence([run.method.seed, _STREAM]).spawn(count):
        seed = int(child.generate_state(1)[0])
        method = replace(run.method, seed=seed, assessments={"verdict": how})
        try:
            again = fit(resplit(run.problem, method.model, method.split, seed=seed), method)
            yield catalogue()["verdict"].measure(again, how)
        except NotTrainable:
            continue


ASSESSMENTS = [
    Assessment(
        "repeats",
        measure,
        step="repeat",
        metrics=lambda recipe: {
            **{f"recipe_{name}": recipe[end] for name, end in _ENDS.items()},
            **{f"recipe_share_{word}": share for word, share in recipe["shares"].items()},
        },
        sentence=lambda recipe: recipe.sentence,
    )
]
