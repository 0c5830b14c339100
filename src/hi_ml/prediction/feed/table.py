"""How would a table of admissions have come as messages? One when somebody comes, one when they leave."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from hi_ml.app.errors import SourceUnreadable
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.hl7 import CellAddress, Feed
from hi_ml.prediction.feed.sender import Sent

_BEGAN, _ENDED = "admitted_on", "discharged_on"
_JOINTS = str.maketrans(dict.fromkeys("|^~\\&\r\n", " "))  # what would cut a cell


def read_table(path: Path, dataset: Dataset, feed: Feed) -> list[Sent]:
    """Make messages of the rows of a CSV, in order of time, as the feed reads them; rows without a date are left out.

    Raises
    ------
    SourceUnreadable
        If the file is no such table.
    """
    columns = {role: str(column.source) for role, column in dataset.present().items()}
    try:
        cells = pd.read_csv(
            path, sep=dataset.separator, encoding=dataset.encoding, dtype=str, keep_default_na=False,
            usecols=[columns[role] for role in {_BEGAN, _ENDED, *feed.columns} & columns.keys()],
        )  # fmt: skip
        times = {role: _times(cells[columns[role]], dataset.columns[role].format) for role in (_BEGAN, _ENDED)}
    except (OSError, ValueError, KeyError) as error:
        raise SourceUnreadable.format(str(path), str(error)) from error
    rows = ({role: row[name] for role, name in columns.items() if name in row} for row in cells.to_dict("records"))
    messages = [
        message
        for number, (row, began, ended) in enumerate(zip(rows, times[_BEGAN], times[_ENDED], strict=True), start=1)
        for message in _stay(number, row, began, ended, feed)
    ]
    return sorted(messages, key=lambda message: message.at or 0.0)


def _times(cells: "pd.Series[str]", written: str | None) -> list[datetime | None]:
    times = pd.to_datetime(cells, format=written or "ISO8601", errors="coerce")
    return [None if pd.isna(time) else time.to_pydatetime().replace(tzinfo=UTC) for time in times]


def _stay(
    number: int, row: Mapping[str, str], began: datetime | None, ended: datetime | None, feed: Feed
) -> Iterator[Sent]:
    if began is None:
        return
    yield _message(number, "A01", began, row, began, None, feed)
    if ended is not None and ended >= began:
        yield _message(number, "A03", ended, row, began, ended, feed)


def _message(
    number: int, trigger: str, at: datetime, row: Mapping[str, str], began: datetime, ended: datetime | None, feed: Feed
) -> Sent:
    stamp = at.strftime("%Y%m%d%H%M%S")
    fields: dict[str, dict[int, dict[int, str]]] = {
        "EVN": {2: {1: stamp}},
        "PID": {3: {1: f"P{number}", 5: feed.patient_type or "MR"}},
        "PV1": {2: {1: "I"}, 19: {1: f"V{number}"}, 44: {1: began.strftime("%Y%m%d%H%M%S")}},
    }
    if ended is not None:
        fields["PV1"][45] = {1: stamp}
    for role, address, codes in feed.cells:
        if cell := row.get(role, "").strip():
            sent = {word: code for code, word in codes.items()}.get(cell, cell)
            text = _born(sent, began) if address[:2] == ("PID", 7) else sent.translate(_JOINTS)
            _put(fields, address, text)
    head = f"MSH|^~\\&|REPLAY|TABLE|HI_ML|LIVE|{stamp}||ADT^{trigger}|{number}{trigger}|P|2.5||||||UNICODE UTF-8"
    lines = [head, *(_line(name, of) for name, of in fields.items()), ""]
    return Sent("\r".join(lines).encode(), at.timestamp())


def _born(age: str, began: datetime) -> str:
    """A day of birth that makes somebody so old."""
    return f"{began.year - int(float(age)):04d}0101" if age.replace(".", "", 1).isdigit() else ""


def _put(fields: dict[str, dict[int, dict[int, str]]], address: CellAddress, text: str) -> None:
    fields.setdefault(address.segment, {}).setdefault(address.field, {})[address.component] = text


def _line(name: str, fields: Mapping[int, Mapping[int, str]]) -> str:
    parts = ("^".join(fields.get(i, {}).get(j, "") for j in range(1, _last(fields.get(i)) + 1)) for i in _to(fields))
    return "|".join([name, *parts])


def _to(fields: Mapping[int, object]) -> range:
    return range(1, max(fields) + 1)


def _last(components: Mapping[int, str] | None) -> int:
    return max(components, default=0) if components else 0
