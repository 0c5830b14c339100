"""Which form do the files have that come with a model or an output, whoever wrote them?"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

_FEW = 3  # faults that a sentence names
_Count = Annotated[int, Field(ge=0)]


class _Column(BaseModel):
    """What the mapping says of a column, as far as everything rests on it."""

    role: str
    kind: Literal["number", "category", "date", "identifier", "text", "stay"]
    source: str | None = None
    missing: list[str] = []
    levels: list[str | None] | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    format: str | None = None
    between: list["_Column"] = []


class MappingShape(BaseModel):
    """How raw columns become an answer, see `hi_ml.prediction.package.mapping`."""

    task: str
    kind: Literal["regression", "classification"]
    labels: list[str]
    columns: list[_Column] = Field(min_length=1)
    features: list[str] = Field(min_length=1)
    pipeline_sha256: str
    interval: dict[str, Any] | None = None
    centre: list[FiniteFloat] | None = None
    private: dict[str, str] = {}
    id: str | None = None


class _File(BaseModel):
    file: str
    sha256: str


class _Join(BaseModel):
    join: str
    source: str
    files: list[_File]


class ManifestShape(BaseModel):
    """What `hi_ml.prediction.batch` says of an output, as far as it can be verified."""

    model_uri: str
    model_sha256: str
    files: list[_File] = Field(min_length=1)
    joins: list[_Join] = []
    table: str | None = None
    rows_in: Annotated[int, Field(ge=1)]
    rows_scored: _Count
    keep: list[str]
    reasons: _Count
    chunk_rows: Annotated[int, Field(ge=1)]
    separator: str = Field(min_length=1, max_length=1)
    encoding: str
    output_sha256: str
    output_files: list[_File] = []
    key: str | None = None


def in_words(error: ValidationError) -> str:
    """Say what is wrong with such a file, without what stands there."""
    faults = [f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}" for fault in error.errors()[:_FEW]]
    return "; ".join(faults)
