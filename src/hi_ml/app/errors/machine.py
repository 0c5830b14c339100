"""Refusals of the machine: memory, time, the disk, engines."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from hi_ml.app.errors.wording import LONGEST_REASON, HiMlError, header, one_line, shown, some


class TimeIsOver(BaseException):
    """A wait has lasted as long as it may; no library takes this for an error of its own."""


class MemoryExhausted(HiMlError):
    """The work takes more memory than there is."""

    @classmethod
    def of(cls, error: Exception) -> Self:
        why = one_line(error)[:LONGEST_REASON].rstrip(".") or "an allocation failed"
        return cls(
            f"There is not enough memory for this: {why}. Nothing half-written was kept. Free memory, or ask for less "
            "at once: fewer rows or columns, model=linear; of predict a smaller chunk_rows, and threads=1."
        )


class SparkFailed(HiMlError):
    """Spark is not there, or did not do what it was asked for."""

    @classmethod
    def no_package(cls, module: str) -> Self:
        return cls(f"Spark needs the Python package {module}, which is not installed: pip install 'hi_ml[spark]'.")

    @classmethod
    def no_java(cls, said: str) -> Self:
        return cls(
            f"Spark needs Java 17 or newer, which did not start: {one_line(said)[:LONGEST_REASON].rstrip('.')}. "
            "Debian has it in openjdk-17-jre-headless; one that lies elsewhere is named by JAVA_HOME."
        )

    @classmethod
    def to_start(cls, reason: str) -> Self:
        return cls(
            f"Spark did not start: {one_line(reason)[:LONGEST_REASON].rstrip('.')}. Check its settings: "
            "spark.master, and the memory it may take."
        )

    @classmethod
    def no_table(cls, found: str) -> Self:
        return cls(
            f"engine=spark reads and writes folders of Parquet and tables that it knows by name, "
            f"'{{url: \"spark://\", table: <name>}}'; found {found}. Without engine=spark all other sources are read."
        )

    @classmethod
    def to_read(cls, source: str, reason: str) -> Self:
        return cls(
            f"Spark cannot read {source}: {one_line(reason)[:LONGEST_REASON].rstrip('.')}. Expected Parquet, with "
            "times in micro- or milliseconds, at a path that every worker sees."
        )

    @classmethod
    def job(cls, reason: str) -> Self:
        return cls(
            f"Spark gave up: {one_line(reason)[:LONGEST_REASON].rstrip('.')}. Nothing was written. Its workers need "
            "this version of hi_ml, the memory for chunk_rows, and the paths of input and output."
        )

    @classmethod
    def other_code(cls) -> Self:
        return cls("A worker of Spark has another version of hi_ml than this machine. Install this one there.")

    @classmethod
    def no_key(cls, found: Sequence[str]) -> Self:
        return cls(
            "engine=spark needs key=<column>, one of its own for every row: rows have no numbers there. "
            f"The input has: {some(map(shown, header(found)), most=40)}."
        )

    @classmethod
    def key(cls, source: str, name: str, *, absent: int, shared: int) -> Self:
        return cls(
            f"key={name} does not tell the rows of {source} apart: {absent:,} have none, {shared:,} share theirs. "
            "Expected a column with another value in every row."
        )


class EngineRefused(HiMlError):
    """What is asked cannot be added up where the table lies."""

    @classmethod
    def no_source(cls, engine: str) -> Self:
        return cls(
            f"engine={engine} adds up a table where it lies, and dataset.source names none. Set dataset.source=<path>."
        )

    @classmethod
    def database(cls, source: str) -> Self:
        return cls(f"{source}: engine=sql asks DuckDB and PostgreSQL, this is another database. Set engine=local.")

    @classmethod
    def file(cls, engine: str, source: str) -> Self:
        takes = "files of Parquet, or a folder of them"
        if engine == "sql":
            takes += ", CSV in UTF-8 that is not compressed, and databases"
        return cls(f"{source}: engine={engine} takes {takes}. Write it so, or set engine=local.")

    @classmethod
    def key(cls, engine: str, key: str, why: str) -> Self:
        return cls(f"dataset.{key} is not done with engine={engine}: {why}. Or set engine=local.")

    @classmethod
    def patients(cls, engine: str, why: str) -> Self:
        return cls(f"engine={engine} tells patients apart by patient_id, and {why}. Set engine=local.")


class OutputFailed(HiMlError):
    """A result could not be written."""

    @classmethod
    def of(cls, error: OSError) -> Self:
        where = f" {error.filename}" if error.filename else ""
        why = error.strerror or error
        return cls(f"Could not write{where}: {why}. Nothing half-written was kept. {remedy(error)}")

    @classmethod
    def not_empty(cls, folder: Path, names: list[str]) -> Self:
        listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004
        return cls(
            f"{folder} is to hold one run and nothing else, and holds {listed}. Nothing there was touched. "
            f"Name a folder that is new or empty: hydra.run.dir={folder / 'run'}"
        )

    @classmethod
    def not_ours(cls, folder: Path, names: list[str]) -> Self:
        return cls(
            f"{folder} is where the work for this output would go, and holds {', '.join(names[:3])}, which is none of "
            f"it. Nothing was touched. Move it, or choose another output."
        )

    @classmethod
    def present_folder(cls, folder: Path) -> Self:
        return cls(f"A run cannot take the place of the present folder. Name a new one: hydra.run.dir={folder / 'run'}")

    @classmethod
    def unfinished(cls, error: OSError, work: Path, chunks: int) -> Self:
        return cls(
            f"Could not write {error.filename or work}: {error.strerror or error}. The output was not touched; "
            f"{chunks} finished chunks are kept in {work}. {remedy(error)} The same command goes on from there."
        )

    @classmethod
    def no_log(cls, path: Path) -> Self:
        return cls(f"There is no log at {path} (looked in {Path.cwd()}). Expected the file of listen: log.path=<file>")

    @classmethod
    def not_a_log(cls, path: Path, reason: str) -> Self:
        return cls(f"{path} is no log of listen: {one_line(reason)}. Name another file, or a new one: log.path=<file>")

    @classmethod
    def busy(cls, output: Path) -> Self:
        return cls(f"{output} is being written by another process. Wait until it has ended, or choose another output.")

    @classmethod
    def exists(cls, output: object) -> Self:
        return cls(
            f"{output} is there already, and Spark replaces nothing. Name a folder that is new or empty, or a table "
            "that is not there yet."
        )

    @classmethod
    def is_input(cls, path: Path) -> Self:
        return cls(
            f"{path} is one of the files of input=, which are only read, and this command would write it. Choose "
            "another output, or a folder of its own for it."
        )

    @classmethod
    def scheme(cls, scheme: str) -> Self:
        return cls(
            f"Nothing can be written to an address that begins with {scheme}. Nothing was written. Name a path of this "
            "machine, and copy the result from there."
        )

    @classmethod
    def no_path(cls, command: str, found: str | None, suffixes: Sequence[str] = (".csv", ".parquet")) -> Self:
        given = "none was given" if found is None else f"found output={found}"
        table = ", or 'output={url: \"...\", table: <name>}'" if command == "predict" else ""
        files = " or ".join(f"output=<file>{suffix}" for suffix in suffixes)
        return cls(f"{command} needs {files}{table}; {given}.")


def remedy(error: OSError) -> str:
    """What helps against an error of the system; of a full disk only, if it is one."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Free space, then run again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
        return "Choose a writable folder (hydra.run.dir=<folder>, output=<file>), then run again."
    return "The disk is not full: see what the system says, then run again."
