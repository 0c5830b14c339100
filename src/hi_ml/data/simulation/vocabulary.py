"""Which words stand in a simulated table, how often each name does, and how people and hospitals are written.

Every first name and surname is invented: a stem and an ending, joined. None belongs to a person of a real table.
"""

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.optimize import brentq

GENDERS = ("Female", "Male")
BLOOD_TYPES = ("A+", "A-", "AB+", "AB-", "B+", "B-", "O+", "O-")
CONDITIONS = ("Arthritis", "Asthma", "Cancer", "Diabetes", "Hypertension", "Obesity")
INSURERS = ("Aetna", "Blue Cross", "Cigna", "Medicare", "UnitedHealthcare")
ADMISSION_TYPES = ("Elective", "Emergency", "Urgent")
MEDICATIONS = ("Aspirin", "Ibuprofen", "Lipitor", "Paracetamol", "Penicillin")
TEST_RESULTS = ("Abnormal", "Inconclusive", "Normal")
ADVANCED_MEDICATIONS = ("Lipitor", "Penicillin")

_FIRST_STEMS = (
    "Bel Cor Dal El Fen Gar Hal Ir Jor Kel Lor Mar Nev Or Per Quin Ros Sel Tam Ul Var Wen Xan Yor Zel Bran Ced Del"
)
_FIRST_ENDINGS = (
    "adan amir anis eda elin emar enna ethan ibel idan imon ina iora isel itha oban olan omir onda orin ova ulan una "
    "uric yva"
)
_LAST_STEMS = (
    "Ald Birch Carn Dun East Fair Glen Harrow Ivel Kirk Lang Mord North Oak Pem Quarn Raven Stan Thorn Under Vale Whit "
    "Wolver Yar Ash Brock Cold Dray Elm Fros Gold Holm Ing Kes Lin Mal Nether Rother Sand Tarn"
)
_LAST_ENDINGS = (
    "acre beck borne bury by combe cote dale den field ford garth gate holt hurst lake leigh mere mont ridge shaw "
    "stead stow wick worth"
)
# Neighbouring ranks should not share a stem; both strides are coprime to the lengths of the lists (700 and 1,000).
_FIRST_STRIDE, _LAST_STRIDE = 207, 307


def _invented(stems: str, endings: str, stride: int) -> tuple[str, ...]:
    names = [stem + ending for stem in stems.split() for ending in endings.split()]
    return tuple(names[index * stride % len(names)] for index in range(len(names)))


FIRST_NAMES = _invented(_FIRST_STEMS, _FIRST_ENDINGS, _FIRST_STRIDE)
"""The 700 first names, the commonest first."""
SURNAMES = _invented(_LAST_STEMS, _LAST_ENDINGS, _LAST_STRIDE)
"""The 1,000 surnames, the commonest first."""

# Chance that two people share the name: implied by the same-name and same-hospital pairs of the real table.
FIRST_NAME_COLLISION = 0.0045
SURNAME_COLLISION = 0.0034


@cache
def rank_shares(count: int, collision: float) -> NDArray[np.float64]:
    """Shares of `count` names, proportional to 1 / (rank + a), of which two draws agree with chance `collision`.

    Parameters
    ----------
    count : int
        Number of names.
    collision : float
        Sum of the squared shares. Must lie between 1 / `count` and the value of the law at a = 0.

    Returns
    -------
    ndarray of float64, shape (count,)
        Falling, with sum 1. Read-only.

    Examples
    --------
    >>> shares = rank_shares(1000, 0.0034)
    >>> round(float((shares**2).sum()), 6)
    0.0034
    """
    ranks = np.arange(1, count + 1)

    def shares(shift: float) -> NDArray[np.float64]:
        weights = 1.0 / (ranks + shift)
        return np.asarray(weights / weights.sum(), dtype=np.float64)

    shift = brentq(lambda shift: float((shares(shift) ** 2).sum()) - collision, 0.0, 100.0 * count, xtol=1e-12)
    falling = shares(shift)
    falling.setflags(write=False)
    return falling


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
