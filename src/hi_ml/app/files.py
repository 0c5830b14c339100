"""How is a file written: whole, or not at all?"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; it takes the place of ``path`` at the end and vanishes on any failure.

    Of files written together (`contextlib.ExitStack`), the one entered first appears last: whoever finds it finds all.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any] | list[dict[str, Any]]) -> None:
    """Write plain values, refusing NaN, which is no JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    path.write_text(f"{text}\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    return value.item()  # numpy scalars
