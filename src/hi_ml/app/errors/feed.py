"""Refusals of messages of a live feed."""

from typing import Literal, Self

from hi_ml.app.errors.wording import HiMlError


class MessageRefused(HiMlError):
    """A message cannot be taken: its sender hears why, and neither says what stands in it."""

    def __init__(self, code: Literal["AR", "AE"], field: str, reason: str, header: object = None) -> None:
        super().__init__(f"{field}: {reason}.")
        self.code, self.field, self.reason = code, field, reason
        self.header = header  # as far as it could be read, for the answer


class Undelivered(HiMlError):
    """Nobody took a message."""

    @classmethod
    def of(cls, address: str, count: int, patience: float) -> Self:
        return cls(
            f"Nobody at {address} has taken the next message for {patience:g} s, after {count:,} that were answered. "
            f"Start listen there, or name another address: to=<host>:<port>"
        )
