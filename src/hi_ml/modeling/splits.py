"""Which rows train, which calibrate, which test?"""

import hashlib
from collections.abc import Mapping
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT
from hi_ml.app.errors import ConfigurationInvalid

PARTS = ("train", "calibration", "test")
LEFT_OUT = -1
Parts = NDArray[np.int8]


@dataclass(frozen=True, config=STRICT)
class Split:
    """A rule that assigns rows to parts."""

    # ``grouped`` keeps groups together; ``temporal`` cuts on the admission date; ``random`` tears groups apart
    # and exists to show what that leaks
    name: Literal["grouped", "temporal", "random"]
    train: float  # shares; they sum to 1
    calibration: float  # shares; they sum to 1
    test: float  # shares; they sum to 1
    repeats: int = Field(1, ge=1)  # splits on which the recipe is judged; the model is that of the first

    def __post_init__(self) -> None:
        """Check the shares."""
        shares = (self.train, self.calibration, self.test)
        if abs(sum(shares) - 1) > 1e-9 or min(self.train, self.test) <= 0 or self.calibration < 0:  # noqa: PLR2004 -- rounding
            raise ValueError(f"the shares of train, calibration and test are positive and sum to 1, found {shares}")
        if self.repeats > 1 and self.name == "temporal":
            raise ValueError(f"there is one split at a date: repeats=1 with split=temporal, found {self.repeats}")


def assign(split: Split, group: NDArray[np.int64], *, seed: int, table: pd.DataFrame) -> Parts:
    """Assign every row to a part.

    Parameters
    ----------
    group : array of int64, shape (n,)
    table : DataFrame, shape (n, any)
        ``temporal`` needs ``admitted_on`` and, if there is one, ``discharged_on`` or else ``length_of_stay``.

    Returns
    -------
    array of int8, shape (n,)
        0 train, 1 calibration, 2 test; -1 for rows that a temporal split leaves out.
    """
    if split.name == "temporal":
        return _temporal(split, group, table)
    if split.name == "random":
        group = np.arange(len(group))
    return _grouped(split, group, np.random.default_rng(seed))


def left_out(split: Split, group: NDArray[np.int64], table: pd.DataFrame) -> dict[str, int]:
    """Count the rows that a split leaves out, by why; empty where it keeps all. Arguments as `assign` takes them."""
    if split.name != "temporal":
        return {}
    parts, ended = _by_day(split, table)
    straddles = _straddles(parts, group)
    counts = {
        "without a date of admission": np.count_nonzero(parts == LEFT_OUT),
        "of patients who are in an earlier part too": np.count_nonzero(straddles),
        "of stays that were not over at the end of their part": np.count_nonzero(~ended & ~straddles),
    }
    return {why: int(count) for why, count in counts.items() if count}


def certify(parts: Parts, kinds: Mapping[str, NDArray[np.int64]], content: NDArray[np.uint64]) -> dict[str, Any]:
    """Say what the parts of a split share, ready for JSON.

    Parameters
    ----------
    kinds : mapping of str to array of int64, shape (n,)
        What may be shared, such as patients, as a number of each row; -1 where unknown.
    content : array of uint64, shape (n,)
        As `digest`.

    Returns
    -------
    dict
        ``shared``: by kind, and by pair of parts, how many numbers stand in both; ``rows_sha256``: by part the digest
        of what its rows hold, in ascending order, by which whoever has the table can check them.
    """
    pairs = list(combinations(range(len(PARTS)), 2))
    shared = {
        name: {
            f"{PARTS[one]}_{PARTS[other]}": len(np.intersect1d(some[parts == one], some[parts == other]))
            for one, other in pairs
        }
        for name, numbers in kinds.items()
        for some in [np.where(numbers < 0, -1 - np.arange(len(numbers)), numbers)]  # an unknown one is nobody else's
    }
    held = {name: np.sort(content[parts == part]).astype("<u8").tobytes() for part, name in enumerate(PARTS)}
    return {"shared": shared, "rows_sha256": {name: hashlib.sha256(rows).hexdigest() for name, rows in held.items()}}


def digest(parts: Parts, group: NDArray[np.int64], content: NDArray[np.uint64]) -> str:
    """Return the SHA-256 of an assignment of groups, known by what their rows hold, to parts.

    Parameters
    ----------
    group, content : arrays, shape (n,)
        Of rows in the order of `hi_ml.data.read.Admissions`, whatever their order in the source.
    """
    number = np.asarray(pd.factorize(group)[0])
    rows = (content.astype("<u8"), number.astype("<i8"), parts.astype("i1"))
    return hashlib.sha256(b"".join(array.tobytes() for array in rows)).hexdigest()


def folds(group: NDArray[np.int64], *, count: int, seed: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Cut rows into folds that keep groups together.

    Returns
    -------
    list of (train, test) arrays of row positions; shorter than ``count`` where there are fewer groups.
    """
    _, index = np.unique(group, return_inverse=True)
    order = np.random.default_rng(seed).permutation(index.max() + 1)
    fold = (order % min(count, len(order)))[index]
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(fold.max() + 1)]


def some_groups(
    group: NDArray[np.int64], rows: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw whole groups that hold about so many rows.

    Parameters
    ----------
    group : array of int64, shape (n,)
        Of the rows.
    rows : array of int64, shape (n,)
        Their positions in a table.

    Returns
    -------
    array of int64
        Those of the positions that were drawn, in order; rows of two groups at least.
    """
    groups = rng.permutation(np.unique(group))
    chosen = groups[: max(2, round(len(groups) * count / len(rows)))]
    return rows[np.isin(group, chosen)]


def hold_out(
    group: NDArray[np.int64], *, share: float, seed: int, labels: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold a share of the groups out of the rows that train, to stop the training early.

    Parameters
    ----------
    labels : array of float64, shape (n,), optional
        Class numbers. A learner refuses labels that it never saw: groups that have one stay in training.

    Returns
    -------
    (train, validation) arrays of row positions
    """
    train, validation = folds(group, count=round(1 / share), seed=seed)[0]
    if labels is None:
        return train, validation
    strange = ~np.isin(labels[validation], labels[train])
    moved = np.isin(group[validation], group[validation][strange])
    return np.sort(np.append(train, validation[moved])), validation[~moved]


def _grouped(split: Split, group: NDArray[np.int64], rng: np.random.Generator) -> Parts:
    """Whole groups in random order, cut where the shares of rows are reached."""
    _, index, size = np.unique(group, return_inverse=True, return_counts=True)
    order = rng.permutation(len(size))
    before = np.empty(len(size))
    before[order] = (np.cumsum(size[order]) - size[order] / 2) / len(group)
    return np.searchsorted([split.train, split.train + split.calibration], before, side="right")[index].astype(np.int8)


def _temporal(split: Split, group: NDArray[np.int64], table: pd.DataFrame) -> Parts:
    """Cut on the day of admission; a group that straddles a cut keeps its earlier part only.

    A training stay that ended after its part's last day is left out: its outcome was not known when the model was made.
    """
    parts, ended = _by_day(split, table)
    parts[_straddles(parts, group) | ~ended] = LEFT_OUT
    return parts


def _by_day(split: Split, table: pd.DataFrame) -> tuple[Parts, NDArray[np.bool_]]:
    """Return the part by the day of admission, whoever is admitted, and whether the stay was over by then."""
    if "admitted_on" not in table or table["admitted_on"].isna().all():
        raise ConfigurationInvalid(
            "split=temporal needs the role 'admitted_on', which the table lacks or leaves empty."
        )
    admitted, ends = table["admitted_on"].dt.floor("D"), _ends(table).dt.floor("D")
    cuts = admitted.quantile([split.train, split.train + split.calibration], interpolation="lower").to_list()
    parts = np.full(len(table), LEFT_OUT, dtype=np.int8)
    parts[(admitted <= cuts[0]).to_numpy()] = 0
    parts[((admitted > cuts[0]) & (admitted <= cuts[1])).to_numpy()] = 1
    parts[(admitted > cuts[1]).to_numpy()] = 2
    late = [(parts == part) & (ends > cut).to_numpy() for part, cut in enumerate(cuts)]
    return parts, ~np.any(late, axis=0)


def _straddles(parts: Parts, group: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell the rows of groups that stand in an earlier part too."""
    frame = pd.DataFrame({"group": group, "part": parts})
    earliest = frame[frame["part"] != LEFT_OUT].groupby("group")["part"].min().reindex(group).to_numpy()
    return np.asarray((parts != LEFT_OUT) & (parts != earliest))


def _ends(table: pd.DataFrame) -> pd.Series:
    """When each stay was over, as far as the table tells."""
    if "discharged_on" in table:
        return table["discharged_on"]
    if "length_of_stay" in table:
        return table["admitted_on"] + pd.to_timedelta(table["length_of_stay"], unit="D")
    return table["admitted_on"]
