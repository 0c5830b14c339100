"""python -m hi_ml.describe source=<file>: drafts the YAML of a table that nobody has described, claims, and a page."""

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic.dataclasses import dataclass

from hi_ml.app import launch
from hi_ml.app.called import printed
from hi_ml.app.config import STRICT, Files, SmallestCell
from hi_ml.app.errors import ConfigurationInvalid, SourceUnreadable
from hi_ml.app.files import atomic_folder, load_yaml
from hi_ml.app.references import as_written
from hi_ml.data.guess import ColumnGuess, computed_stay
from hi_ml.data.location import Location, address_of, way_of
from hi_ml.data.privacy import PrivateWords
from hi_ml.data.relations import relate
from hi_ml.reports.description import describe_page
from hi_ml.reports.draft import Drafted, claim_yamls, dataset_yaml, task_name, task_yaml
from hi_ml.reports.undescribed import Undescribed
from hi_ml.reports.undescribed import joins as joins_of

FIRST_TARGETS = ("length_of_stay", "billed", "test_result", "readmitted")  # where none is named


@dataclass(frozen=True, config=STRICT)
class DescribeSettings:
    """The keys of ``conf/describe.yaml``."""

    source: Location | None  # a CSV or Parquet file, a glob of them, an address, a database
    target: str | None  # column that is to be predicted: which others are the same under another name?
    name: str | None  # of the dataset; null: that of the file
    beside: list[str]  # other tables, whose columns may hold the keys of this one
    smallest_cell: SmallestCell
    files: Files


def describe(settings: DescribeSettings, here: launch.Invocation) -> None:
    """Draft ``dataset/<name>.yaml``, a task and claims, and write ``describe.html``.

    Raises
    ------
    SourceUnreadable, ColumnProblem
        If there is no such table.
    ConfigurationInvalid
        If the target is none of its columns.
    """
    if settings.source is None:
        raise SourceUnreadable.none_named()
    origin = address_of(settings.source)
    file = Path(way_of(as_written(origin))[0]).name.split(".")[0]
    name = settings.name or re.sub(r"\W+", "_", file).strip("_").lower() or "mine"
    read = Undescribed.of(settings.source, name)
    guesses = read.guesses
    stay = computed_stay(guesses)
    known = [*guesses, *([stay] if stay else [])]
    target = _target(settings.target, known)
    targets = [target] if target else [one.role for one in known if one.role in FIRST_TARGETS]
    others = {path: Undescribed.of(path, name) for path in settings.beside}
    relations = relate(guesses, targets, {path: other.guesses for path, other in others.items()}, stay)
    joins = list(joins_of(read, others, relations))
    drafted = Drafted(name, as_written(origin), read.unusual, guesses, stay, target, settings.smallest_cell, joins)
    claims, task, predicts = claim_yamls(drafted), task_yaml(drafted), task_name(drafted)
    folder = here.folder
    commands = [
        printed("train", f"dataset={name}", *([f"task={predicts}"] if predicts else []), options=[folder]),
        printed("findings", f"dataset={name}", f"finding=[{','.join(claims)}]", options=[folder]),
    ][: 1 + bool(claims)]
    all_guesses = [*guesses, *(one for join in joins for one in join.guesses)]
    private = (text for one in all_guesses if one.private for text in one.levels)
    words = PrivateWords.of(private, (text for one in all_guesses if not one.private for text in one.levels))
    with atomic_folder(folder) as work:
        for path, text in [
            (f"dataset/{name}.yaml", dataset_yaml(drafted)),
            *([(f"task/{predicts}.yaml", task)] if task else []),
            *((f"finding/{claim}.yaml", text) for claim, text in claims.items()),
            ("describe.html", describe_page(drafted, relations, commands)),
        ]:
            (work / path).parent.mkdir(exist_ok=True)
            (work / path).write_text(text, encoding="utf-8")
        words.refuse(work)
    print(f"{folder}/dataset/{name}.yaml\n{folder}/describe.html")
    if task and target is None:
        drafted_target = load_yaml(task)["target"]
        print(f"No target was named: the drafted task predicts {drafted_target}; target=<column> names another.")
    if target and predicts is None:
        asked = next(one for one in known if one.role == target)
        what = f"is {'private' if asked.private else f'a {asked.kind} of {len(asked.levels):,} levels'}"
        print(f"No task is drafted: {target} {what}, and a target is a number or a category of 2 to 30 levels.")
    print(f"Say in the draft when each column is known, then:\n{chr(10).join(commands)}")


def _target(asked: str | None, guesses: Sequence[ColumnGuess]) -> str | None:
    for one in guesses:
        if asked in (one.name, one.role):
            return one.role
    if asked is not None:
        raise ConfigurationInvalid.no_target(asked, [one.name for one in guesses])
    return None


main = launch.command(describe)

if __name__ == "__main__":
    main()
