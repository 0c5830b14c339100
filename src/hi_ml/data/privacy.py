"""Does a private word of the table stand in any file that a run leaves?"""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hi_ml.app.errors import PrivateValueFound
from hi_ml.data.texts import texts_in

_WORD = re.compile(r"\w+")
# What may stand between two words of one name. Anything else (a quote, a bare comma, a line's end) ends a text.
_JOINT = re.compile(r"[ \t.'’-]+|, +|[.,'’-]* +")
_WORDS_OF_A_NAME, _SHORTEST_WORD, _SHORTEST_ID = 2, 2, 5
_TITLES = frozenset({"dr", "mr", "mrs", "ms", "miss", "md", "dds", "dvm", "phd", "prof", "jr", "sr", "ii", "iii", "iv"})
_PARTICLES = frozenset({  # of names, that name nobody alone
    "al", "bin", "da", "de", "del", "den", "der", "di", "dos", "du", "el", "ibn", "la", "las", "le", "los", "san", "st",
    "ter", "und", "van", "von",
})  # fmt: skip
_NO_NAMES = _TITLES | _PARTICLES
_JOINS = re.compile("['’-]")  # that may be left out inside of a name
# Scripts that put no blank between words: a name in them may stand anywhere, as one run of two letters and more.
_FOREIGN = re.compile(r"[^\x00-\x7f]")  # no ASCII
_MARKS = ("Mn", "Mc", "Me", "Cf")  # accents, vowel signs and what is not seen, as Unicode calls them
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af"
    "\U00020000-\U0003ffff]"
)
_ESCAPE = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")


@dataclass(frozen=True)
class PrivateWords:
    """The names to look for."""

    names: dict[str, frozenset[tuple[str, ...]]]  # by first word, the private values of two or more words, as `fold`
    runs: frozenset[str]  # private values of one word, in a script without blanks
    excused: int = 0  # private values that name an organisation too, and are not looked for

    @classmethod
    def of(cls, private: Iterable[str], organisations: Iterable[str]) -> "PrivateWords":
        """Collect private values, less those that also stand in the name of an organisation.

        Examples
        --------
        >>> words = PrivateWords.of(["Ann Lee", "Bo Ray", "Cher"], ["Ann Lee and Sons"])
        >>> words.count("ann  LEE met Cher; Bo Ray did not"), words.excused
        (1, 1)
        """
        values = {words_in(value) for value in private}
        wanted = {words for words in values if len(words) >= _WORDS_OF_A_NAME}
        lengths = sorted({len(words) for words in wanted})
        shown = {words_in(value) for value in organisations}
        excused = {run for words in shown for run in _runs(words, lengths) if run in wanted}
        runs = frozenset("".join(words) for words in values if is_unspaced("".join(words)))
        named = {run for words in shown for run in _within("".join(words), runs)}
        return cls(_by_first(wanted - excused), runs - named, len(excused) + len(named))

    def count(self, text: str) -> int:
        """Count the private values in a text."""
        runs = _within(fold(text), self.runs) if self.runs else ()
        return sum(1 for _ in _names_in(text, self.names)) + sum(1 for _ in runs)

    def refuse(self, folder: Path) -> None:
        """Search every file below a folder.

        Raises
        ------
        PrivateValueFound
            With the files and counts, not the values.
        """
        counts = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (count := self.count("\n".join(texts_in(path.name, path.read_bytes())))):
                counts[str(path.relative_to(folder))] = count
        if counts:
            raise PrivateValueFound.in_files(counts)


def refuse_own_names(public: Mapping[str, pa.Array], private: Iterable[pa.Array], row: NDArray[np.int64]) -> None:
    """Let no public text hold a private value of its own row, or a word of one, see `own_names`.

    Parameters
    ----------
    public : mapping of str to dictionary array, shape (n,)
        By the name of the column in the source; those of organisations left out.
    private : iterable of dictionary array, shape (n,)
    row : array of int64, shape (n,)
        Number in the source.

    Raises
    ------
    PrivateValueFound
        With the column and the rows, not the value.
    """
    every = [level for values in public.values() for level in _levels(values)]
    known = frozenset(word for level in every for word in words_in(level))
    names = [(own, words_of_names(own.dictionary)) for own in private if _may_stand(_levels(own), known)]
    some = [(own, words) for own, words in names if likely_names(words, every).any()]  # of most tables, none
    for source, values in public.items() if some else ():
        faults = np.any([own_names(values, own, words) for own, words in some], axis=0)
        if faults.any():
            raise PrivateValueFound.in_rows(source, np.sort(row[faults]).tolist())


def _may_stand(private: Sequence[str], known: frozenset[str]) -> bool:
    """Whether a value may share a word with others, seen at once for all: of most tables, none does."""
    text = "\n".join(private)
    if not text.isascii() or _JOINS.search(text):
        return True
    return not known.isdisjoint(_WORD.findall(text.casefold()))


def own_names(
    values: pa.DictionaryArray,
    own: pa.DictionaryArray,
    words: Sequence[frozenset[str]],
    sizes: Mapping[str, int] | None = None,
) -> NDArray[np.bool_]:
    """Mark the rows of a public column that hold a private value of the same row, shape (n,).

    A value stands there with all its words in any order, or with one of them, such as a surname or an id, if half of
    the rows of that text, or more, are of somebody of that name: a text of many others (a colour, a town) names none.

    Parameters
    ----------
    words : sequence of frozenset of str
        Of each level of the private column, those that may name somebody.
    sizes : mapping of str to int, optional
        Rows of each text, where others than these have it too.
    """
    levels = _levels(values)
    codes, shows = (cells.indices.fill_null(-1).to_numpy().astype(int) for cells in (own, values))
    likely = np.append(likely_names(words, levels), False)
    rows = np.flatnonzero(likely[codes] & (shows >= 0))
    if not len(rows):
        return np.zeros(len(values), dtype=bool)
    shown, whole = [frozenset(words_in(level)) for level in levels], list(map(_identifying, _levels(own)))
    runs = ["".join(words_in(level)) for level in levels]
    counts = np.bincount(shows[shows >= 0], minlength=len(levels))
    counts = counts if sizes is None else np.array([sizes[level] for level in levels])
    named, held = np.zeros((2, len(values)), dtype=bool)
    for row in rows:
        text, run = shown[shows[row]], runs[shows[row]]
        held[row] = any(_is_part(word, text, run) for word in words[codes[row]])
        named[row] = bool(whole[codes[row]]) and _stands(whole[codes[row]], text, run)
    most = 2 * np.bincount(shows[held], minlength=len(levels)) >= counts
    return np.asarray(named | (held & most[shows]))


def likely_names(words: Sequence[frozenset[str]], levels: Sequence[str]) -> NDArray[np.bool_]:
    """Mark the private values of which a word stands somewhere in the levels of a public column."""
    shown = [words_in(level) for level in levels]
    known, everywhere = frozenset().union(*shown), " ".join(map("".join, shown))

    def inside(some: frozenset[str]) -> bool:
        return any(_is_part(word, known, everywhere) for word in some if not word.isascii())

    return np.array([not known.isdisjoint(some) or inside(some) for some in words], dtype=bool)


def words_of_names(values: pa.Array) -> list[frozenset[str]]:
    """List of each private value the words by which somebody may be known, one alone."""
    return [_words_of_name(text or "") for text in values.to_pylist()]


def _words_of_name(text: str) -> frozenset[str]:
    every = (*words_in(text), *(words_in(_JOINS.sub("", text)) if _JOINS.search(text) else ()))
    words = (word for word in every if len(word) >= _SHORTEST_WORD and word not in _NO_NAMES)
    return frozenset(word for word in words if word.isalpha() or _is_id(word) or not any(map(str.isdigit, word)))


def _is_part(word: str, known: frozenset[str], run: str) -> bool:
    """Whether a word stands in a text; of one of a script without blanks, half of it, since it is several names."""
    if word in known or not is_unspaced(word):
        return word in known
    size = max(_SHORTEST_WORD, (len(word) + 1) // 2)
    return any(word[start : start + size] in run for start in range(len(word) - size + 1))


def _levels(values: pa.Array) -> list[str]:
    return [level or "" for level in values.dictionary.to_pylist()]


def _identifying(text: str) -> frozenset[str]:
    """The words of a text that tell who someone is: two or more of a name, an id, a run without blanks; else none."""
    words = frozenset(word for word in words_in(text) if len(word) >= _SHORTEST_WORD and word not in _TITLES)
    alone = len(words) == 1 and any(is_unspaced(word) or _is_id(word) for word in words)
    return words if len(words) >= _WORDS_OF_A_NAME or alone else frozenset()


def _is_id(word: str) -> bool:
    return len(word) >= _SHORTEST_ID and any(map(str.isdigit, word))


def _stands(words: frozenset[str], known: frozenset[str], text: str) -> bool:
    return all(word in known or (is_unspaced(word) and word in text) for word in words)


def fold(text: str) -> str:
    """Return what all spellings of a name have in common: without case, accents, vowel signs, width and composition.

    Examples
    --------
    >>> fold("JOSÉ Muñoz") == fold("Jose\u0301 munoz")
    True
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        text = _FOREIGN.sub(lambda c: "" if unicodedata.category(c[0]) in _MARKS else c[0], text)
    return text.casefold()


def words_in(text: str) -> tuple[str, ...]:
    """Cut a text into its words, as `fold` makes them alike."""
    return tuple(_WORD.findall(fold(text)))


def is_unspaced(word: str) -> bool:
    """Say whether a word is of a script in which it may stand inside a longer run of letters."""
    return len(word) >= _WORDS_OF_A_NAME and _UNSPACED.search(word) is not None


def _within(text: str, runs: frozenset[str]) -> Iterator[str]:
    """Yield the runs that stand anywhere in a folded text."""
    if runs and _UNSPACED.search(text):
        for length in {len(run) for run in runs}:
            yield from (text[i : i + length] for i in range(len(text) - length + 1) if text[i : i + length] in runs)


def _runs(words: tuple[str, ...], lengths: list[int]) -> Iterator[tuple[str, ...]]:
    return (words[i : i + n] for n in lengths for i in range(len(words) - n + 1))


def _by_first(names: Iterable[tuple[str, ...]]) -> dict[str, frozenset[tuple[str, ...]]]:
    grouped: dict[str, set[tuple[str, ...]]] = {}
    for words in names:
        grouped.setdefault(words[0], set()).add(words)
    return {first: frozenset(group) for first, group in grouped.items()}


def _names_in(text: str, names: dict[str, frozenset[tuple[str, ...]]]) -> Iterator[tuple[str, ...]]:
    """Yield the names that stand in a text as whole words, one after the other."""
    text = fold(_unescaped(text))
    if names.keys().isdisjoint(_WORD.findall(text)):
        return
    for line in text.splitlines():
        if names.keys().isdisjoint(_WORD.findall(line)):  # nearly every line of a model: numbers
            continue
        words = list(_WORD.finditer(line))
        for i, match in enumerate(words):
            for name in names.get(match[0], ()):
                run = words[i : i + len(name)]
                if tuple(word[0] for word in run) == name and all(
                    _JOINT.fullmatch(line, one.end(), other.start()) for one, other in pairwise(run)
                ):
                    yield name


def _unescaped(text: str) -> str:
    """Undo what formats inside of formats do to letters: JSON in YAML, HTML, addresses."""
    if "\\" in text:
        text = _ESCAPE.sub(lambda escape: chr(int(escape[1] or escape[2], 16)), text)
    if "&" in text:
        text = html.unescape(text)
    return unquote(text) if "%" in text else text
