"""What may a search try: a range, or choices, for each argument of a learner."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Discriminator, Field, FiniteFloat, Tag
from pydantic.dataclasses import dataclass

from hi_ml.app.config import STRICT

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Setting = bool | int | float | str | None


@dataclass(frozen=True, config=STRICT)
class Range:
    """All numbers from a lowest to a highest."""

    low: FiniteFloat  # both may be tried
    high: FiniteFloat  # both may be tried
    log: bool = False  # whether equal ratios are equally likely, instead of equal distances
    integer: bool = False  # whether only whole numbers are tried

    def __post_init__(self) -> None:
        """Check the ends."""
        if self.low >= self.high:
            raise ValueError(f"expected low below high, found low={self.low:g} and high={self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a range with log: true starts above 0, found low={self.low:g}")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"a range with integer: true has whole ends, found {self.low:g} and {self.high:g}")

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        return numeric and self.low <= value <= self.high and (not self.integer or float(value).is_integer())

    def distribution(self) -> "BaseDistribution":
        """What a search draws from."""
        from optuna import distributions  # noqa: PLC0415 -- a fifth of a second that only a search pays

        if self.integer:
            return distributions.IntDistribution(int(self.low), int(self.high), log=self.log)
        return distributions.FloatDistribution(self.low, self.high, log=self.log)

    def __str__(self) -> str:
        """Name the ends."""
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True, config=STRICT)
class Choices:
    """A closed list."""

    choices: list[Setting] = Field(min_length=2)  # at least two

    def holds(self, value: Any) -> bool:
        """Whether a value is one of them."""
        return value in self.choices

    def distribution(self) -> "BaseDistribution":
        """What a search draws from."""
        from optuna.distributions import CategoricalDistribution  # noqa: PLC0415 -- as above

        return CategoricalDistribution(self.choices)

    def __str__(self) -> str:
        """List them."""
        return "one of " + ", ".join("null" if choice is None else str(choice) for choice in self.choices)


def _form(node: Any) -> str:
    listed = isinstance(node, Choices) or (isinstance(node, Mapping) and "choices" in node)
    return "choices" if listed else "range"


Dimension = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")],
    Discriminator(_form),  # so that a wrong key is named for the form that was meant, and once
]
Space = dict[str, Dimension]
