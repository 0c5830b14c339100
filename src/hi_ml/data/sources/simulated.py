"""A table that nobody exported: drawn when it is read."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.data.schema import Dataset
from hi_ml.data.simulation import simulate
from hi_ml.data.sources.stays import DerivedSource

ADDRESS = "simulated:"


@dataclass(frozen=True)
class SimulatedSource(DerivedSource):
    """A simulated table, at ``simulated:<scenario>``."""

    location: str
    dataset: Dataset  # with rows, seed, effect and hospitals

    @staticmethod
    def opens(location: str, _: bytes) -> bool:
        """Tell whether the address is that of a simulation."""
        return location.startswith(ADDRESS)

    @classmethod
    def open(cls, location: str, dataset: Dataset) -> "SimulatedSource":
        """Draw nothing yet."""
        return cls(location, dataset)

    @cached_property
    def table(self) -> pa.Table:
        """The table, drawn at its first use; a setting out of its range is refused."""
        dataset, scenario = self.dataset, self.location.removeprefix(ADDRESS)
        try:
            return simulate(
                scenario, dataset.rows, seed=dataset.seed, effect=dataset.effect, hospitals=dataset.hospitals
            ).table
        except ValueError as error:
            raise ConfigurationInvalid(f"dataset={dataset.name} cannot be simulated: {error}") from error

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.dataset.rows

    def sha256(self) -> str:
        """Return the digest of what decides every cell."""
        chosen = (self.dataset.rows, self.dataset.seed, self.dataset.effect, self.dataset.hospitals)
        return hashlib.sha256(repr((self.location, *chosen)).encode()).hexdigest()


SOURCE = SimulatedSource
