"""Which cells speak of so few patients that they must not be shown, and how are rows put together instead?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hi_ml.statistics.estimates import Floats, Integers

Mask = NDArray[np.bool_]
_FIRST = 1000  # rows that are looked at first


@dataclass(frozen=True)
class Disclosure:
    """Of how many patients a table may speak."""

    unit: Integers  # int64, shape (n,); of whom each row is
    smallest: int  # patients

    def sizes(self, cell: Integers, count: int) -> Integers:
        """Count the patients of each of so many cells, shape (count,); a row in cell -1 is in none."""
        known, unit = cell >= 0, self.unit - self.unit.min(initial=0)
        units = unit.max(initial=0) + 1
        pairs = np.unique(cell[known].astype(np.int64) * units + unit[known])  # many times as fast as of two columns
        return np.bincount(pairs // units, minlength=count)

    def tells(self, rows: Mask) -> bool:
        """Whether some rows are of so few patients that nothing may be said of them; of nobody, it may."""
        units = self.unit[rows]
        first = len(np.unique(units[:_FIRST]))  # which mostly are enough
        return 0 < first < self.smallest and len(np.unique(units)) < self.smallest

    def joined(self, cells: Iterable[Mask], *, events: Mask | None = None) -> Iterator[Mask]:
        """Join neighbouring cells until each is of enough patients, with the event and without, or of none of these."""
        waiting: list[Mask] = []
        ready: Mask | None = None
        for cell in cells:
            waiting.append(cell)
            together = np.any(waiting, axis=0)
            if not any(self.tells(part) for part in _parts(together, events)):
                if ready is not None:
                    yield ready
                ready, waiting = together, []
        last = [one for one in (ready, *waiting) if one is not None]
        if last and not any(self.tells(part) for part in _parts(np.any(last, axis=0), events)):
            yield np.any(last, axis=0)

    def steps(self, values: Floats, events: Mask) -> Floats:
        """Choose values, down to the smallest, such that enough patients of each kind, or none, lie between two."""
        order, bands = np.argsort(-values, kind="stable"), [(set[int](), set[int]())]
        ends = list[float]()
        for row, following in zip(order, [*order[1:], -1], strict=True):
            bands[-1][int(events[row])].add(int(self.unit[row]))
            if following < 0 or (values[following] < values[row] and self._allow(bands[-1])):
                ends.append(float(values[row]))
                bands.append((set(), set()))
        bands.pop()
        while len(bands) > 1 and not self._allow(bands[-1]):
            without, having = bands.pop()
            bands[-1] = (bands[-1][0] | without, bands[-1][1] | having)
            del ends[-2]
        return np.array(ends)

    def _allow(self, parts: tuple[set[int], set[int]]) -> bool:
        return not any(0 < len(part) < self.smallest for part in parts)

    def runs(self, order: Integers, size: int = 1) -> Integers:
        """Number rows (positions), as they come, by runs of enough patients and at least so many; -1 where too few."""
        numbers, seen, run, enough = list[int](), set[int](), 0, max(self.smallest, size)
        for unit in self.unit[order].tolist():
            if len(seen) >= enough:
                run, seen = run + 1, set()
            numbers.append(run)
            seen.add(unit)
        number = np.array(numbers, dtype=np.int64)
        if len(seen) < self.smallest:
            number[number == run] = run - 1
        return number


def few_in_words(count: int, smallest: int) -> int | str:
    """Say of a count of rows or patients that it is small, where it is; of none, it may be said.

    Examples
    --------
    >>> few_in_words(3, 5), few_in_words(0, 5), few_in_words(5, 5)
    ('fewer than 5', 0, 5)
    """
    return f"fewer than {smallest}" if 0 < count < smallest else count


def _parts(rows: Mask, events: Mask | None) -> tuple[Mask, ...]:
    return (rows,) if events is None else (rows, rows & events, rows & ~events)


def withheld(sizes: Integers, smallest: int, *keys: NDArray[Any]) -> Mask:
    """Say which lines of a table are not shown: the small ones, and so many more that none of them can be told.

    Where the lines of one key add up to what is known, those of them that are left out are none, or several and
    together enough patients: the difference would tell it.

    Parameters
    ----------
    sizes : array of int, shape (n,)
        Patients of each line. One of nobody may be shown.
    keys : arrays, shape (n,)
        By which sums are known; without one, only that of all lines is.

    Examples
    --------
    >>> withheld(np.array([3, 0, 50, 7]), 5)
    array([ True, False, False,  True])

    Of a table of three rows and three columns whose margins are known, one small cell takes three others along:

    >>> row, column = np.divmod(np.arange(9), 3)
    >>> withheld(np.array([40, 2, 20, 10, 30, 8, 9, 50, 60]), 5, row, column).reshape(3, 3).astype(int)
    array([[0, 1, 1],
           [0, 1, 1],
           [0, 0, 0]])
    """
    lines = [np.flatnonzero(key == value) for key in keys for value in pd.unique(key)] or [np.arange(len(sizes))]
    hidden = (sizes > 0) & (sizes < smallest)
    while True:
        before = hidden.copy()
        for line in lines:
            _hide_more(sizes, hidden, line, smallest)
        if (hidden == before).all():
            return hidden


def _hide_more(sizes: Integers, hidden: Mask, line: Integers, smallest: int) -> None:
    """Hide the next cells of a line, the smallest first, until what is hidden cannot be told from its sum."""
    if not hidden[line].any():
        return
    for cell in line[np.argsort(sizes[line], kind="stable")]:
        if hidden[line].sum() > 1 and sizes[line][hidden[line]].sum() >= smallest:
            return
        hidden[cell] |= sizes[cell] > 0
