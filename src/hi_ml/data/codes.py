"""What do codes stand for? Labels from a file with key and label, groups from ranges of codes."""

import csv
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from hi_ml.app.errors import ConfigurationInvalid

Ranges = list[tuple[str, str, str]]  # lowest and highest code, ends included, and the name of the group

# Chapters of the International Classification of Diseases by the WHO, in short names
_ICD9 = """001-139 infectious; 140-239 neoplasms; 240-279 endocrine; 280-289 blood; 290-319 mental; 320-389 nervous;
390-459 circulatory; 460-519 respiratory; 520-579 digestive; 580-629 genitourinary; 630-679 pregnancy; 680-709 skin;
710-739 musculoskeletal; 740-759 congenital; 760-779 perinatal; 780-799 symptoms; 800-999 injury; V01-V91 factors;
E000-E999 external causes"""
_ICD10 = """A00-B99 infectious; C00-D49 neoplasms; D50-D89 blood; E00-E90 endocrine; F00-F99 mental; G00-G99 nervous;
H00-H59 eye; H60-H95 ear; I00-I99 circulatory; J00-J99 respiratory; K00-K95 digestive; L00-L99 skin;
M00-M99 musculoskeletal; N00-N99 genitourinary; O00-O9A pregnancy; P00-P96 perinatal; Q00-Q99 congenital;
R00-R99 symptoms; S00-T98 injury; V00-Y99 external causes; Z00-Z99 factors; U00-U99 special purposes"""
CHAPTERS = {"icd9_chapters": _ICD9, "icd10_chapters": _ICD10}
_DIGITS = {"icd9_chapters": 3}  # before the point of a code that is a number
_PAIR, _TRIPLE = 2, 3


def chapters(name: str) -> dict[str, Any]:
    """Return one of the `CHAPTERS` as `hi_ml.scorer.serving.convert` takes groups of codes."""
    listed = (re.split(r"[-\s]+", chapter.strip(), maxsplit=2) for chapter in CHAPTERS[name].split(";"))
    return {"ranges": list(map(tuple, listed)), "digits": _DIGITS.get(name)}


def ranges_in(path: str, key: str) -> Ranges:
    """Read groups of codes from a CSV of lowest code, highest code and group, with a header.

    Parameters
    ----------
    key : str
        Where it stands, for the sentence.

    Raises
    ------
    ConfigurationInvalid
        If there is no such file, or it has other columns.
    """
    lines = [line for table in _tables(path, key) for line in table[1:]]
    if not lines or any(len(line) != _TRIPLE for line in lines):
        raise ConfigurationInvalid.lookup(key, path, "lowest code, highest code and group")
    return [(low.strip(), high.strip(), name.strip()) for low, high, name in lines]


def labels_in(path: str, column: str, key: str) -> dict[str, str]:
    """Read the labels of codes from a CSV of key and label, with a header.

    Parameters
    ----------
    column : str
        Of a file with several such tables, an empty line between them, the one whose header begins with this name.

    Raises
    ------
    ConfigurationInvalid
        If there is no such file or table.
    """
    tables = _tables(path, key)
    own = [table for table in tables if table[0][0].strip().casefold() == column.casefold()]
    chosen = own or (tables if len(tables) == 1 else [])
    if not chosen or any(len(line) != _PAIR for line in chosen[0]):
        raise ConfigurationInvalid.lookup(key, path, f"key and label, or several tables of which one begins '{column}'")
    return {code.strip(): label.strip() for code, label in chosen[0][1:]}


def _tables(path: str, key: str) -> list[list[list[str]]]:
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid.no_lookup(key, path, sorted(CHAPTERS) if key.endswith("groups") else []) from error
    return list(_blocks(csv.reader(text.splitlines())))


def _blocks(lines: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    """Cut at empty lines."""
    for filled, block in groupby(lines, key=lambda line: any(cell.strip() for cell in line)):
        if filled:
            yield list(block)
