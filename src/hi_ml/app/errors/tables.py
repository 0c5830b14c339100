"""Refusals of a table: what cannot be read, lacks a column, cannot be joined or would give a person away."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from hi_ml.app.errors.wording import (
    LONGEST_REASON,
    HiMlError,
    closest,
    header,
    hint,
    one_line,
    plain,
    setting,
    shown,
    some,
)

_FEW_KEYS = 6  # settings that a sentence lists to be pasted; more belong into the YAML


class SourceUnreadable(HiMlError):
    """The table's file is absent, empty, of another format, or damaged."""

    @classmethod
    def absent(cls, source: str, dataset: str, get: str) -> Self:
        where = f" {get}" if get else ""
        return cls(
            f"No file at {source} (looked in {Path.cwd()}), which dataset={dataset} reads.{where} "
            f"Or point elsewhere: dataset.source=<path>."
        )

    @classmethod
    def nowhere(cls, source: str) -> Self:
        return cls(
            f"No file at {source} (looked in {Path.cwd()}). Expected a CSV or Parquet file, a glob of them, or an "
            "address."
        )

    @classmethod
    def none_named(cls) -> Self:
        return cls("describe needs source=<a CSV or Parquet file, a glob of them, or an address>; none was given.")

    @classmethod
    def scheme(cls, scheme: str) -> Self:
        return cls(
            f"An address that begins with {scheme} cannot be read. Expected a path of this machine, or a glob: copy "
            "the files here or mount them, and name their path."
        )

    @classmethod
    def no_input(cls, asked: str | None) -> Self:
        found = "none was given" if asked is None else f"found no file at {asked} (looked in {Path.cwd()})"
        return cls(f"predict needs input=<a CSV or Parquet file, or a glob of them>; {found}.")

    @classmethod
    def database(cls, source: str, reason: str) -> Self:
        why = one_line(reason)[:LONGEST_REASON].rstrip(".") or "it gave no reason"
        return cls(
            f"{source} was not served: {why}. Check url, table or query, and password_from, the environment variable "
            "with the password."
        )

    @classmethod
    def database_file(cls, path: str, kind: str, scheme: str) -> Self:
        slashes = "////" if path.startswith("/") else "///"
        return cls(
            f"{path} is a database of {kind}. Say which of its tables, in which order: "
            f'{{url: "{scheme}:{slashes}{path.removeprefix("/")}", table: <name>, order_by: [<column>]}}'
        )

    @classmethod
    def no_driver(cls, source: str, module: str) -> Self:
        return cls(
            f"{source} needs the Python package of {module}, which is not installed. PostgreSQL, SQLite and DuckDB: "
            "pip install 'hi_ml[databases]'; any other database: the driver that SQLAlchemy names for it."
        )

    @classmethod
    def no_order(cls, source: str, name: str, found: Sequence[str]) -> Self:
        return cls(
            f"order_by names '{name}'{hint(name, found)}, which {source} has not. "
            f"It has: {some(map(shown, found), most=40)}."
        )

    @classmethod
    def no_messages(cls, path: Path | None) -> Self:
        found = "none was given" if path is None else f"found none in {path} (looked in {Path.cwd()})"
        return cls(f"replay needs input=<messages of HL7 v2 in .hl7, resources of FHIR in .ndjson, a .csv>; {found}.")

    @classmethod
    def changed(cls, source: str) -> Self:
        return cls(f"{source} changed while it was read. Nothing was written. Run again when its export has ended.")

    @classmethod
    def directory(cls, source: str) -> Self:
        return cls(f"{source} is a folder. Expected a CSV or Parquet file, or a glob such as {source}/*.csv.")

    @classmethod
    def no_standard(cls, source: str, reader: str, lacking: str) -> Self:
        return cls(f"{source} is not laid out as reader: {reader} expects: it lacks {lacking}. Name another path.")

    @classmethod
    def no_visits(cls, source: str, visits: Sequence[str], common: Sequence[str]) -> Self:
        return cls(
            f"In {source} no visit is an admission: none has the visit_concept_id {some(visits)}. Say in source which "
            f"are: visits: [<visit_concept_id>], or visits: [all]. There are {some(common)}."
        )

    @classmethod
    def no_start(cls, source: str, start: Sequence[str], common: Sequence[str]) -> Self:
        return cls(
            f"In {source} no admission begins: there is no code {some(start)}, nor one that continues it with //. "
            f"Say in source which do: start: [<code>], end: [<code>]. The commonest codes are {some(common)}."
        )

    @classmethod
    def empty(cls, source: str) -> Self:
        return cls(f"{source} is empty. Expected a header line and at least one row of admissions.")

    @classmethod
    def no_rows(cls, source: str) -> Self:
        return cls(f"{source} has a header and no rows. Expected at least one admission.")

    @classmethod
    def format(cls, source: str, reason: str) -> Self:
        return cls(
            f"{source} cannot be read as a table: {one_line(reason).rstrip('.')}. Expected CSV with separator "
            f"and encoding as in dataset.separator and dataset.encoding, or Parquet (*.parquet)."
        )

    @classmethod
    def too_large(cls, source: str, most: int) -> Self:
        return cls(
            f"{source} holds more than {most:,} bytes once it is unpacked. Expected a table of at most so many. If it "
            f"is one, raise dataset.max_bytes: dataset.max_bytes={4 * most}"
        )

    @classmethod
    def bomb(cls, source: str, ratio: int) -> Self:
        return cls(
            f"{source} unpacks to more than {ratio} times its size, as no table does. Reading stopped there. "
            f"If it is one, unpack it first, and name the file that comes of it: dataset.source=<path>."
        )

    @classmethod
    def memory(cls, source: str, needed: float, available: float) -> Self:
        return cls(
            f"{source} would take about {needed / 1e9:.1f} GB of memory or more, and {available / 1e9:.1f} GB are free "
            f"here. Reading stopped there. Free memory, or read less of it: fewer rows, or columns set to null "
            f"(dataset.columns.<role>.from=null)."
        )

    @classmethod
    def long_header(cls, source: str, most: int) -> Self:
        return cls(
            f"{source} has a first line of more than {most} MiB. Expected the names of its columns: close the quote "
            f'(") that opens in it, or end the lines by a line feed.'
        )

    @classmethod
    def binary(cls, source: str) -> Self:
        return cls.format(source, "it holds zero bytes, so it is a workbook, a picture or the like, or UTF-16 unmarked")

    @classmethod
    def types(cls, source: str, reason: str) -> Self:
        return cls(
            f"The files of {source} do not agree on the type of a column: {one_line(reason).rstrip('.')}. "
            f"Expected one type per column; write the files alike, for example all as CSV."
        )

    @classmethod
    def quote(cls, source: str, where: str) -> Self:
        return cls(
            f'{source} has a quote (") that opens a field {where} and swallows the lines after it, which look like '
            f"rows. Close the quote, or write a literal one twice inside a quoted field."
        )

    @classmethod
    def separator(cls, source: str, expected: str, likely: str) -> Self:
        argument = "\\t" if likely == "\t" else likely
        return cls(
            f"{source} has one column when split at {expected!r}. Its header looks separated by {likely!r}. "
            f"Set {setting('dataset.separator', argument)}."
        )

    @classmethod
    def encoding(cls, source: str, expected: str, line: int, likely: str) -> Self:
        return cls(
            f"{source} is not {expected}: line {line} holds a byte outside it. Set "
            f"{setting('dataset.encoding', likely)}, which its words look like, or what it is, or save it as UTF-8."
        )

    @classmethod
    def column(cls, source: str, name: str, found: str, kind: str) -> Self:
        return cls(
            f"Column '{name}' of {source} holds {found}, which cannot be read as kind {kind}. "
            f"Expected text, numbers or dates; write the column as one of them."
        )

    @classmethod
    def not_text(cls, source: str, name: str) -> Self:
        return cls(
            f"Column '{name}' of {source} is declared as text and holds bytes that are not UTF-8. Write the column "
            f"anew from text, or as binary."
        )


class ColumnProblem(HiMlError):
    """The header is not the one that the dataset's YAML describes."""

    @classmethod
    def missing(cls, source: str, dataset: str, described: dict[str, str], found: Sequence[str]) -> Self:
        """Name each absent column, what the file has, and the key to set.

        A first line without any described name is not shown: it may be no header, but an admission.
        """
        absent = {role: name for role, name in described.items() if name not in found}
        if {plain(name) for name in described.values()}.isdisjoint(map(plain, found)):
            return cls(
                f"{source} has none of the columns that dataset={dataset} describes: {some(described.values())}. "
                f"Expected a first line with these names. Choose the dataset=<name> of this table, or set "
                f"dataset.columns.<role>.from to the names in the file."
            )
        found = header(found)
        names = some(f"'{name}'{hint(name, found)}" for name in absent.values())
        near = {role: closest(name, found) for role, name in absent.items()}
        keys = " ".join(setting(f"dataset.columns.{role}.from", name) for role, name in near.items())
        here = f" or here: {keys}" if len(absent) <= _FEW_KEYS else "."
        return cls(
            f"{source} has no column {names}. It has: {some(map(shown, found), most=40)}. Name it as the file "
            f"does, or as null if the table lacks it, in dataset/{dataset}.yaml{here}"
        )

    @classmethod
    def joined_twice(cls, source: str, roles: Sequence[str]) -> Self:
        return cls(
            f"joins would add {some(map(repr, roles))}, and {source} has such a column already. Rename one of the "
            "two, or take the join out."
        )

    @classmethod
    def not_for_model(cls, source: str, needed: Sequence[str], found: Sequence[str]) -> Self:
        absent, found = [name for name in needed if name not in found], header(found)
        names = some(f"'{name}'{hint(name, found)}" for name in absent)
        return cls(
            f"{source} has no column {names}, which the model needs. It has: {some(map(shown, found), most=40)}. "
            f"Name the columns of the file as those of the table that the model was trained on."
        )

    @classmethod
    def not_kept(cls, source: str, name: str, found: Sequence[str]) -> Self:
        found = header(found)
        return cls(f"keep names '{name}'{hint(name, found)}, which {source} has not. It has: {some(found, most=40)}.")

    @classmethod
    def private(cls, names: Sequence[str]) -> Self:
        return cls(
            f"keep names {some(map(repr, names))}, which the model's dataset declares private: no private value "
            f"leaves the reader. Take it out of keep, and join by row afterwards."
        )

    @classmethod
    def taken(cls, names: Sequence[str], kept: Sequence[str]) -> Self:
        return cls(
            f"The columns to keep ({some(kept)}) would give the output {some(map(repr, names))} twice. "
            f"Rename them in the input, or leave them out of keep."
        )

    @classmethod
    def duplicated(cls, source: str, names: Sequence[str]) -> Self:
        listed = ", ".join(map(repr, header(names)))
        return cls(f"{source} has more than one column named {listed}. Rename or remove one.")


class JoinRefused(HiMlError):
    """Another table cannot be joined as it is described."""

    @classmethod
    def not_unique(cls, spec: Mapping[str, Any], count: int, pair: Sequence[int]) -> Self:
        right = ", ".join(name for _, name in spec["on"])
        dated = " and its date" if spec["latest_before"] else ""
        mend = "" if dated else (
            f", or set joins.{spec['name']}.latest_before: {{admitted_on: <its column of dates>}} to take the newest "
            "from before each admission"
        )  # fmt: skip
        return cls(
            f"joins.{spec['name']}: {spec['source']} has {count:,} rows of a key ({right}{dated}) that another row has "
            f"too, such as rows {pair[0]:,} and {pair[1]:,}: joined, they would double admissions. Expected one row a "
            f"key. Keep one of each{mend}."
        )

    @classmethod
    def few(cls, spec: Mapping[str, Any], counts: Mapping[str, int], padding: tuple[int, int]) -> Self:
        name, pairs = spec["name"], ", ".join(f"{left} = {right}" for left, right in spec["on"])
        rows, matched = counts["rows"], counts["rows_matched"]
        expected = f"at least {spec['least_match']:.0%}" if spec["least_match"] else "some"
        sentence = (
            f"joins.{name}: {spec['source']} knows {matched:,} of {rows:,} rows and {counts['keys_matched']:,} of "
            f"{counts['keys']:,} keys ({pairs}); expected {expected}."
        )
        if counts["rows_without_key"]:
            sentence += f" {counts['rows_without_key']:,} rows have no key, which matches nothing."
        if counts["rows_too_early"]:
            sentence += (
                f" Of {counts['rows_too_early']:,} rows the key is there, and all that is known of it is of the day of "
                "the row or later: get the table of an earlier time."
            )
        found, digits = padding
        if found:
            sentence += (
                f" Keys are compared as text: with zeros before them, to {digits} digits as there, {found:,} keys more "
                "would match. Write both as text of that length."
            )
        elif counts["keys"] > counts["keys_matched"]:
            sentence += (
                " If one has names where the other has codes, a crosswalk file with both helps, as a join before this "
                "one: joins.<crosswalk>: {source: <file>, on: {...}, columns: {<code>: {kind: identifier}}}, and "
                f"joins.{name}.on: {{<code>: ...}}."
            )
        if matched and spec["least_match"]:
            sentence += f" Or lower joins.{name}.least_match."
        return cls(sentence)


class TooManyRejected(HiMlError):
    """More rows cannot be read than the dataset allows."""

    @classmethod
    def of(
        cls,
        source: str,
        faults: Sequence[str],
        rejected: tuple[int, int, float],
        file: Path,
        key: str = "dataset.max_rejected",
        causes: Sequence[str] = (),
    ) -> Self:
        bad, rows, limit = rejected
        allowed = f"at most {limit:.1%} may be" if bad < rows else "none is left"
        mend = "Mend them" if 2 * bad > rows else f"Mend them, or raise {key}"  # what breaks most rows is no exception
        return cls(
            f"{source}: {bad} of {rows} rows cannot be read ({bad / rows:.1%}; {allowed}). Broken rules: "
            f"{some(faults, most=20)}. They are listed in {file}. " + f"{'. '.join(causes) or mend}."
        )


class PrivateValueFound(HiMlError):
    """A private value of the table stands in a file that would be kept."""

    @classmethod
    def in_files(cls, places: dict[str, int]) -> Self:
        listed = ", ".join(f"{name} ({count})" for name, count in places.items())
        return cls(
            f"Private values of the table were found in {listed}. Nothing was kept or tracked. Declare the columns "
            f"that hold them as private: true in the dataset's YAML, and rename a column that is called like a patient."
        )

    @classmethod
    def in_rows(cls, source: str, rows: Sequence[int], *, numbered: bool = True) -> Self:
        listed = ", ".join(f"{row:,}" for row in rows[:5]) + (" and more" if len(rows) > 5 else "")  # noqa: PLR2004
        which = f" (data row {listed})" if numbered else ""
        return cls(
            f"Column {source} is not private, and holds a private value of its own row in {len(rows):,} rows{which}. "
            f"Nothing was kept. Declare it in the dataset's YAML: private: true, or organisations: true "
            f"where it names hospitals or insurers that are called like people."
        )
