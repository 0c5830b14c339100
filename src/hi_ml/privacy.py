"""Does a private word of the table stand in any file that a run leaves?"""

import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hi_ml.errors import PrivateValueFound

_WORD = re.compile(r"\w+")
# What may stand between two words of one name. Anything else (a quote, a bare comma, a line's end) ends a text.
_JOINT = re.compile(r"[ \t.'’-]+|, +|[.,'’-]* +")
_WORDS_OF_A_NAME = 2


@dataclass(frozen=True)
class PrivateWords:
    """The names to look for.

    Attributes
    ----------
    names : dict of str to frozenset of tuple of str
        By first word, the private values of two or more words, case-folded.
    """

    names: dict[str, frozenset[tuple[str, ...]]]

    @classmethod
    def of(cls, private: Iterable[str], public: Iterable[str]) -> "PrivateWords":
        """Collect private values, less those that also stand inside a public one (a hospital called like a person).

        Examples
        --------
        >>> words = PrivateWords.of(["Ann Lee", "Bo Ray", "Cher"], ["Ann Lee and Sons"])
        >>> words.count("ann  LEE met Cher; Bo Ray did not")
        1
        """
        wanted = {words for value in private if len(words := _words(value)) >= _WORDS_OF_A_NAME}
        lengths = sorted({len(words) for words in wanted})
        excused = {run for value in public for run in _runs(_words(value), lengths) if run in wanted}
        return cls(_by_first(wanted - excused))

    def count(self, text: str) -> int:
        """Count the private values in a text."""
        return sum(1 for _ in _found(text, self.names))

    def refuse(self, folder: Path) -> None:
        """Search every file below a folder.

        Raises
        ------
        PrivateValueFound
            With the files and counts, not the values.
        """
        found = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (count := sum(map(self.count, _texts(path.name, path.read_bytes())))):
                found[str(path.relative_to(folder))] = count
        if found:
            raise PrivateValueFound.in_files(found)


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


def _runs(words: tuple[str, ...], lengths: list[int]) -> Iterator[tuple[str, ...]]:
    return (words[i : i + n] for n in lengths for i in range(len(words) - n + 1))


def _by_first(names: Iterable[tuple[str, ...]]) -> dict[str, frozenset[tuple[str, ...]]]:
    grouped: dict[str, set[tuple[str, ...]]] = {}
    for words in names:
        grouped.setdefault(words[0], set()).add(words)
    return {first: frozenset(group) for first, group in grouped.items()}


def _found(text: str, names: dict[str, frozenset[tuple[str, ...]]]) -> Iterator[tuple[str, ...]]:
    """Yield the names that stand in a text as whole words, one after the other."""
    for line in text.casefold().splitlines():
        if names.keys().isdisjoint(_WORD.findall(line)):  # nearly every line of a model: numbers
            continue
        words = list(_WORD.finditer(line))
        for i, match in enumerate(words):
            for name in names.get(match[0], ()):
                run = words[i : i + len(name)]
                if tuple(word[0] for word in run) == name and all(
                    _JOINT.fullmatch(line, one.end(), other.start()) for one, other in zip(run, run[1:], strict=False)
                ):
                    yield name


def _texts(name: str, content: bytes) -> Iterator[str]:
    """Yield every text that a file holds, decoded: members of archives, strings of Parquet, cells of JSON."""
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from _texts(member, archive.read(member))
    elif content.startswith(b"PAR1"):
        yield from _parquet(content)
    elif content.startswith(b"\x93NUMPY"):
        array = np.load(io.BytesIO(content), allow_pickle=False)
        yield from map(str, np.unique(array)) if array.dtype.kind in "US" else ()
    elif content.startswith(b"\x89PNG"):
        return  # pixels: every chart is drawn from a table that is searched
    elif name.endswith((".json", ".ipynb")):
        yield from _strings(json.loads(content))
    else:
        yield content.decode("utf-8", errors="replace")


def _parquet(content: bytes) -> Iterator[str]:
    table = pq.read_table(io.BytesIO(content))
    yield from table.column_names
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            yield from (text for text in column.unique().to_pylist() if text)
        elif pa.types.is_dictionary(column.type):
            yield from (
                text for chunk in column.chunks for text in chunk.dictionary.to_pylist() if isinstance(text, str)
            )


def _strings(node: object) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield str(key)
            yield from _strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value)
