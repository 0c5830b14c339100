"""What would the YAML of an undescribed table be? A draft with its evidence, and three claims worth testing."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hi_ml.app.text import percent
from hi_ml.data.guess import ColumnGuess

_GROUPS = (2, 30)  # levels of a column that a claim may compare
_LEAST_SHARE = 0.03  # of the rows, of a level that a claim may be about
_SPREADS = 0.1  # of the standard deviation: the smallest effect that a draft proposes
_SHARE = 0.03  # the same of a share
_SHIPPED = {"length_of_stay": "length_of_stay", "billed": "billing", "test_result": "test_results"}  # tasks, by target
_WIDTH = 110  # characters of a comment


@dataclass(frozen=True)
class DraftedJoin:
    """Another table of which one row is meant by each key."""

    name: str
    source: str  # its path
    csv: Mapping[str, str]  # separator and encoding, where they are not those of the table
    key: tuple[str, str]  # the column here, and that there
    share: float  # of the keys here that stand there
    level: str | None  # role of the column here, where it names a unit of several rows, such as a hospital
    guesses: Sequence[ColumnGuess]  # of its columns, as they stand in the rows here


@dataclass(frozen=True)
class Drafted:
    """A table, as its draft describes it."""

    name: str
    source: str  # its path
    csv: Mapping[str, str]  # separator and encoding, where they are not a comma and UTF-8
    guesses: Sequence[ColumnGuess]
    stay: ColumnGuess | None  # the length of stay, where two dates make it
    target: str | None  # role
    smallest: int  # rows of a level that may be named
    joins: Sequence[DraftedJoin] = ()


def dataset_yaml(drafted: Drafted) -> str:
    """Write the dataset's YAML: every key beside the evidence for it."""
    first = next(iter(drafted.guesses))
    joined = [guess for join in drafted.joins for guess in join.guesses]
    words = sorted({word for guess in [*drafted.guesses, *joined] for word in guess.words}, key=str.casefold)
    lines = [
        f"# A draft of {first.rows:,} rows x {len(drafted.guesses)} columns, guessed from names and cells: check it.",
        f"name: {drafted.name}",
        f"source: {_scalar(drafted.source)}",
        *(f"{key}: {_scalar(value)}" for key, value in drafted.csv.items()),
        f'missing: {_listed(["", *words])}  # words for "no value" that stand in the cells',
        "# When is each column known? That cannot be guessed. Until you name a column here (role, name in the file,",
        '# a glob "diag_*" or a range "first..last"), it is known after discharge, and predicts nothing.',
        "known:",
        "  admission: []",
        "  stay: []",
        "  discharge: []",
        "columns:",
        *(line for guess in drafted.guesses for line in _column(guess, drafted.smallest)),
        *(["joins:"] if drafted.joins else []),
        *(line for join in drafted.joins for line in _join(join, drafted.smallest)),
    ]
    return "\n".join(lines) + "\n"


def _join(join: DraftedJoin, smallest: int) -> Iterator[str]:
    here, there = join.key
    yield f"  {join.name}:"
    yield f"    source: {_scalar(join.source)}"
    yield from (f"    {key}: {_scalar(value)}" for key, value in join.csv.items())
    said = f"{percent(join.share)} % of the keys here stand there, each once"
    yield f"    on: {{{_scalar(here)}: {_scalar(there)}}}  # column here: column there; {said}"
    if join.level is not None:
        yield f"    level: {join.level}  # what it tells is the {join.level}'s, not of each row"
    yield "    known: after  # say admission, if it was known by then"
    yield "    columns:"
    yield from (f"    {line}" for guess in join.guesses for line in _column(guess, smallest))


def _column(guess: ColumnGuess, smallest: int) -> Iterator[str]:
    keys: dict[str, Any] = {} if guess.role == guess.name else {"from": guess.name}
    keys |= {"kind": guess.kind, **guess.keys}
    if guess.private:
        keys["private"] = True
    node = "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in keys.items()) + "}"
    line = f"{guess.role}: {node}  # {evidence(guess, smallest)}"
    if guess.is_mixed:
        yield "  # not guessed: say format: '%d/%m/%Y' or '%m/%d/%Y' once the order is sure, and take away the mark"
        yield f"  # {line}"
    else:
        yield f"  {line}"


def evidence(guess: ColumnGuess, smallest: int) -> str:
    """Say on what a guess stands: levels, share missing, ends, commonest levels; of a private column only counts."""
    said = [f"{len(guess.levels):,} levels"]
    if guess.orders is not None:
        day, month, either = guess.orders
        said.append(f"{day:,} cells can only begin with the day, {month:,} only with the month, {either:,} with either")
    if guess.known < guess.rows:
        said.append(f"{percent(1 - guess.known / guess.rows)} % missing")
    words = [word for word in guess.words if word]
    if words and not guess.private:
        said.append(f"missing: {', '.join(words)}")
    if shown := guess.shown(smallest):
        levels = ", ".join(f"{_printable(text)} {percent(rows / max(guess.known, 1))} %" for text, rows in shown[:4])
        said.append(levels)
    text = "; ".join(said)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"


def task_yaml(drafted: Drafted) -> str:
    """Draft the task to predict what is asked for, or likeliest wanted; nothing where a shipped task does."""
    outcome = outcome_of(drafted)
    if outcome is None or outcome.role in _SHIPPED:
        return ""
    number, two = _is_number(outcome), len(outcome.levels) == _GROUPS[0]
    node = {
        "name": task_name(drafted),
        "target": outcome.role,
        "kind": "regression" if number else "classification",
        **({"positive": [min(_speakable(outcome, drafted))[1]]} if two and not number else {}),
        "unit": outcome.keys.get("unit", outcome.keys.get("money", _plain(outcome.role))) if number else "label",
        "horizon": "discharge",
        "score": "mae" if number else "roc_auc" if two else "log_loss",
    }
    said = {
        "horizon": "  # the moment of prediction: admission, stay, discharge",
        "score": "  # the primary one; more keys: conf/task of hi_ml",
        "positive": "  # these count as yes",
    }
    lines = [f"{key}: {_scalar(value)}{said.get(key, '')}" for key, value in node.items()]
    lines += [] if number else ["# thresholds: [0.1, 0.2]  # shares from which one would act: what would it change?"]
    return "\n".join(["# A draft: what is predicted, when, and by which score it is judged.", *lines]) + "\n"


def task_name(drafted: Drafted) -> str | None:
    """Name the task that predicts it: a shipped one, or that of the draft; None where nothing can be predicted."""
    outcome = outcome_of(drafted)
    if outcome is None:
        return None
    plain = outcome.role if outcome.role.isascii() else "target"  # which a shell, Hydra and MLflow take as it is
    return _SHIPPED.get(outcome.role, f"{drafted.name}_{plain}")


def claim_yamls(drafted: Drafted) -> dict[str, str]:
    """Draft up to three claims, by name: a difference, an association, and a trend or a variation."""
    outcome = outcome_of(drafted)
    groups = [guess for guess in drafted.guesses if _is_group(guess, drafted) and guess is not outcome]
    numbers = [guess for guess in drafted.guesses if _is_number(guess) and guess is not outcome]
    if outcome is None or not groups:
        return {}
    share = not _is_number(outcome)
    of = {"of": outcome.role}
    levels = {outcome.role: [_level(outcome, drafted, commonest=False)]} if share else {}
    smallest, unit = (_SHARE, "share of admissions") if share else _spread(outcome)
    what = f"{_plain(outcome.role)} {levels[outcome.role][0]}" if share else _plain(outcome.role)
    strata = [guess.role for guess in drafted.guesses if guess.role == "age" and _is_number(guess)]
    group = groups[0]
    level = _level(group, drafted, commonest=True)
    claims: dict[str, tuple[dict[str, Any], str]] = {
        "difference": (
            {
                "claim": f"{_sentence(what)} differs between {_plain(group.role)} {level} and all others.",
                "kind": "difference",
                **of,
                "by": group.role,
                "levels": {**levels, group.role: [level]},
                **({"strata": strata} if strata else {}),
                "smallest_effect": smallest,
            },
            unit,
        )
    }
    if len(groups) > 1:
        one, other = groups[0], groups[1]
        claims["association"] = (
            {
                "claim": f"{_sentence(_plain(one.role))} and {_plain(other.role)} go together.",
                "kind": "association",
                "of": one.role,
                "by": other.role,
                "smallest_effect": 0.1,
            },
            "Cohen's w",
        )
    along = next((guess for guess in numbers if guess.role == "age"), numbers[0] if numbers else None)
    if along is not None:
        per = 10 if along.role == "age" else float(f"{np.nanstd(_values(along)):.1g}")
        claims["trend"] = (
            {
                "claim": f"{_sentence(what)} changes with {_plain(along.role)}.",
                "kind": "trend",
                **of,
                "by": along.role,
                **({"levels": levels} if levels else {}),
                "per": per,
                "smallest_effect": smallest,
            },
            f"{unit} per {per:g} of {_plain(along.role)}",
        )
    return {
        f"{drafted.name}_{kind}": "".join(
            [
                f"# A draft: say what you claim of {drafted.name}, and what would matter, before you look.\n",
                *(
                    f"{key}: {_scalar(value)}{f'  # {unit}: a guess' if key == 'smallest_effect' else ''}\n"
                    for key, value in node.items()
                ),
            ]
        )
        for kind, (node, unit) in claims.items()
    }


def outcome_of(drafted: Drafted) -> ColumnGuess | None:
    """Return the column that is asked for, however rare, else the likeliest; None where it is no outcome."""
    by_role = {guess.role: guess for guess in [*drafted.guesses, *([drafted.stay] if drafted.stay else [])]}
    if drafted.target is not None:
        asked = by_role[drafted.target]
        few = asked.kind == "category" and not asked.private and len(asked.levels) <= _GROUPS[1]
        return asked if (few and len(_speakable(asked, drafted)) >= _GROUPS[0]) or _is_number(asked) else None
    wanted = ["length_of_stay", "billed", "test_result", "readmitted"]
    named = [by_role[role] for role in wanted if role in by_role]
    others = [guess for guess in reversed(drafted.guesses) if _is_number(guess) and guess.role != "age"]
    usable = [guess for guess in (*named, *others) if _is_number(guess) or _is_group(guess, drafted)]
    return next(iter(usable), None)


def _is_number(guess: ColumnGuess) -> bool:
    return guess.kind == "number" and not guess.private and guess.numbers is not None and len(guess.levels) > _GROUPS[0]


def _is_group(guess: ColumnGuess, drafted: Drafted) -> bool:
    if guess.kind != "category" or guess.private or not _GROUPS[0] <= len(guess.levels) <= _GROUPS[1]:
        return False
    rows = sorted(guess.levels.values(), reverse=True)
    return rows[1] >= max(_LEAST_SHARE * guess.rows, drafted.smallest)


def _speakable(guess: ColumnGuess, drafted: Drafted) -> list[tuple[int, str]]:
    return [(rows, text) for text, rows in guess.levels.items() if rows >= drafted.smallest]


def _level(guess: ColumnGuess, drafted: Drafted, *, commonest: bool) -> str:
    levels = _speakable(guess, drafted)
    large = [level for level in levels if level[0] >= _LEAST_SHARE * guess.rows]
    return (max if commonest else min)(large if len(large) >= _GROUPS[0] else levels)[1]


def _values(guess: ColumnGuess) -> Any:
    return guess.numbers


def _spread(guess: ColumnGuess) -> tuple[float, str]:
    spread = float(f"{_SPREADS * float(np.nanstd(_values(guess))):.2g}")
    return spread or 1.0, str(guess.keys.get("unit", _plain(guess.role)))


def _plain(role: str) -> str:
    return role.replace("_", " ")


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _printable(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f\u2028\u2029\x85]+", " ", text)


def _listed(words: Sequence[str]) -> str:
    return "[" + ", ".join(json.dumps(word, ensure_ascii=False) for word in dict.fromkeys(words)) + "]"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z][\w./ -]*[\w./]|[A-Za-z]", value) and value.casefold() not in _RESERVED
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_scalar(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_scalar, value)) + "]"
    return f"{value:g}"


_RESERVED = {"yes", "no", "on", "off", "true", "false", "null", "y", "n", "none", "nan", "inf"}
