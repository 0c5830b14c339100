"""Which texts does a file hold, whatever its format?"""

import io
import json
import zipfile
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml


def texts_in(name: str, content: bytes) -> Iterator[str]:
    """Yield every text that a file holds, decoded: members of archives, strings of Parquet, cells of JSON and YAML."""
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield member
                yield from texts_in(member, archive.read(member))
    elif content.startswith(b"PAR1"):
        yield from _parquet(content)
    elif content.startswith(b"\x93NUMPY") and not _holds_objects(content):
        array = np.load(io.BytesIO(content), allow_pickle=False)
        if array.dtype.kind in "US":
            texts = np.strings.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array
            yield from texts.ravel()
    elif content.startswith(b"\x89PNG"):
        return  # pixels: every chart is drawn from a table that is searched
    else:
        yield from _strings_of_text(name, content.decode("utf-8", errors="replace"))


def _strings_of_text(name: str, text: str) -> Iterator[str]:
    """Yield a text, or where it is JSON or YAML, which break and escape strings, the strings in it."""
    try:
        if name.endswith((".json", ".ipynb")):
            yield from _strings(json.loads(text))
        elif name.endswith((".yaml", ".yml", "MLmodel")):
            yield from _strings(yaml.safe_load(text))
        else:
            yield text
    except (ValueError, yaml.YAMLError):  # not what its name says
        yield text


def _holds_objects(content: bytes) -> bool:
    """Whether an array is a pickle, which is never opened; its bytes are searched."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return bool(read(file)[2].hasobject)


def _parquet(content: bytes) -> Iterator[str]:
    table = pq.read_table(io.BytesIO(content))
    yield from table.column_names
    yield from (value.decode(errors="replace") for value in (table.schema.metadata or {}).values())
    for column in table.columns:
        for chunk in column.chunks:
            yield from _cells(chunk)


def _cells(values: pa.Array) -> Iterator[str]:
    """Yield the different texts of an array, however deep they lie."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        yield from _cells(values.dictionary)
    elif pa.types.is_struct(kind):
        for field in values.flatten():
            yield from _cells(field)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _cells(values.flatten())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield from (text for text in values.unique().to_pylist() if text)
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        yield from (cell.decode(errors="replace") for cell in values.unique().to_pylist() if cell)


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
