"""How does the mean of several boosters become one booster, which is served and explained like any other?"""

import copy
import re
from collections.abc import Sequence
from typing import Any

_TREE = re.compile(r"^Tree=\d+\n.*?\n\n\n?(?=Tree=|end of trees)", flags=re.DOTALL | re.MULTILINE)
# what a tree says of its leaves in the units of the sum; the last two where leaves hold linear models
_IN_UNITS = re.compile(r"^(leaf_value|internal_value|leaf_const|leaf_coeff)=(.*)$", flags=re.MULTILINE)


def mean_learner(learners: Sequence[Any]) -> Any:
    """Make the learner whose sums, before any link, are the mean of those of several.

    It holds the trees of all up to the round at which each stopped, every leaf divided by their number: what the trees
    add up to is the mean, and so are the exact contributions to it.

    Parameters
    ----------
    learners : sequence of LGBMRegressor or LGBMClassifier
        Fitted to the same columns and labels.

    Returns
    -------
    LGBMRegressor or LGBMClassifier
        ``best_iteration_`` is the mean number of rounds of one of them.

    Raises
    ------
    TypeError
        If they are no boosters of LightGBM.
    """
    first = learners[0]
    if not hasattr(first, "booster_"):
        raise TypeError(f"bags above 1 takes a learner of LightGBM, found {type(first).__name__}; set bags: 1")
    from lightgbm import Booster  # noqa: PLC0415 -- another learner does not need it

    texts = [learner.booster_.model_to_string() for learner in learners]
    trees = [_share(tree, len(learners)) for text in texts for tree in _TREE.findall(text)]
    trees = [re.sub(r"^Tree=\d+", f"Tree={number}", tree) for number, tree in enumerate(trees)]
    before, after = _TREE.split(texts[0])[0], texts[0][texts[0].index("end of trees") :]
    before = re.sub(r"tree_sizes=.*", f"tree_sizes={' '.join(str(len(tree)) for tree in trees)}", before)
    merged = copy.copy(first)
    merged._Booster = Booster(model_str=before + "".join(trees) + after)  # noqa: SLF001 -- nothing public takes one
    rounds = [learner.best_iteration_ or learner.n_estimators for learner in learners]
    merged._best_iteration = round(sum(rounds) / len(rounds))  # noqa: SLF001 -- the same
    return merged


def _share(tree: str, count: int) -> str:
    return _IN_UNITS.sub(
        lambda line: f"{line[1]}={' '.join(repr(float(value) / count) for value in line[2].split())}", tree
    )
