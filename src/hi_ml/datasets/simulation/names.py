"""How the names of people and hospitals are written."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.random import Generator
from numpy.typing import NDArray

from hi_ml.datasets.simulation.vocabulary import (
    FIRST_NAME_COLLISION,
    FIRST_NAMES,
    SURNAME_COLLISION,
    SURNAMES,
    rank_shares,
)

Codes = NDArray[np.int32]

SUFFIXES = (("PLC",), ("Inc",), ("Ltd",), ("Group",), ("LLC",), ("and", "Sons"))
MOST_HOSPITALS = 499 * len(SURNAMES)
"""Pairs of different surnames, in either order, that `hospital_names` can form."""
_UPPER_BIT = 0x20  # the bit in which an ASCII capital differs from its small letter


def draw_people(count: int, rng: Generator) -> tuple[Codes, Codes]:
    """Draw the codes of first names and surnames, two arrays of shape (count,)."""
    return _draw(FIRST_NAMES, FIRST_NAME_COLLISION, count, rng), _draw_surnames(count, rng)


def write_people(first: Codes, last: Codes) -> pa.StringArray:
    """Join first names and surnames: `Beladan Oakden`."""
    names = pc.binary_join_element_wise(pa.array(FIRST_NAMES).take(first), pa.array(SURNAMES).take(last), " ")
    return names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names


def scramble_case(names: pa.StringArray, rng: Generator) -> pa.StringArray:
    """Write each letter of ASCII names large or small, with equal chance.

    Parameters
    ----------
    names : StringArray
        Letters and spaces; no missing names, and not a slice of a longer array.
    rng : Generator
        One draw a letter.

    Returns
    -------
    StringArray
        The same names in odd case.
    """
    _, offsets, content = names.buffers()
    letters = np.frombuffer(content, dtype=np.uint8)
    # Both bytes of a letter have this bit, or not, by its case alone; a space keeps its own.
    small = rng.integers(0, 2, len(letters), dtype=np.uint8) * _UPPER_BIT
    odd = np.where(letters == ord(" "), letters, (letters & ~np.uint8(_UPPER_BIT)) | small)
    return pa.StringArray.from_buffers(len(names), offsets, pa.py_buffer(odd.astype(np.uint8)))


def scatter_hospitals(count: int, rng: Generator) -> pa.StringArray:
    """Write a new hospital name for each row: `A-B`, `A Suffix` or `A, B and C`, its words in any order.

    Parameters
    ----------
    count : int
        Number of names.
    rng : Generator
        Draws form, surnames, suffix and order.

    Returns
    -------
    StringArray
        For example `Oakden-Lindale`, `Sons Oakden and` or `and Oakden Lindale, Tarnford`.
    """
    size = len(SURNAMES)
    # Words are surnames, surnames with a comma, the words of suffixes (in which "and" also serves `A, B and C`), none.
    suffix_words = sorted({word for suffix in SUFFIXES for word in suffix})
    words = pa.array([*SURNAMES, *(f"{name}," for name in SURNAMES), *suffix_words, None])
    code = {word: 2 * size + index for index, word in enumerate(suffix_words)}
    none = len(words) - 1
    suffixes = np.array([[code[suffix[0]], code[suffix[1]] if len(suffix) > 1 else none] for suffix in SUFFIXES])

    form = rng.integers(0, 3, count)
    pair, company = form == 0, form == 1
    a, b, c = (_draw_surnames(count, rng) for _ in range(3))
    suffix = suffixes[rng.integers(0, len(SUFFIXES), count)]
    slots = np.stack(
        [
            np.where(pair | company, a, a + size),
            np.where(company, suffix[:, 0], b),
            np.where(pair, none, np.where(company, suffix[:, 1], c)),
            np.where(pair | company, none, code["and"]),
        ],
        axis=1,
    )
    slots = rng.permuted(slots, axis=1)
    separator = pa.array(["-", " "]).take((~pair).astype(np.int8))
    columns = [words.take(slots[:, index]) for index in range(slots.shape[1])]
    return pc.binary_join_element_wise(*columns, separator, null_handling="skip")


def hospital_names(count: int, rng: Generator) -> list[str]:
    """Return distinct names of lasting hospitals, no two of the same words: `A-B` and `A and B` by turns."""
    order = rng.permutation(len(SURNAMES))
    index = np.arange(count)
    first = order[index % len(SURNAMES)]
    second = order[(index + 1 + index // len(SURNAMES)) % len(SURNAMES)]
    joins = ("-", " and ")
    return [SURNAMES[a] + joins[i % 2] + SURNAMES[b] for i, (a, b) in enumerate(zip(first, second, strict=True))]


def _draw(names: tuple[str, ...], collision: float, count: int, rng: Generator) -> Codes:
    steps = np.cumsum(rank_shares(len(names), collision))[:-1]
    return np.searchsorted(steps, rng.random(count), side="right").astype(np.int32)


def _draw_surnames(count: int, rng: Generator) -> Codes:
    return _draw(SURNAMES, SURNAME_COLLISION, count, rng)
