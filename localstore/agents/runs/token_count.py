"""Counts the tokens of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from localstore.models.session import Metrics


class HasTokens(Protocol):
    """An object with token counts: a model's reply, or the metrics of a run or a step."""

    @property
    def input_tokens(self) -> int | None: ...

    @property
    def output_tokens(self) -> int | None: ...


@dataclass(slots=True)
class TokenCount:
    """The total numbers of tokens. A total is None until a number has been added to it."""

    input_tokens: int | None = None
    output_tokens: int | None = None

    def add(self, used: HasTokens) -> None:
        """Add the token counts of `used`. A count of None is ignored."""
        if used.input_tokens is not None:
            self.input_tokens = (self.input_tokens or 0) + used.input_tokens
        if used.output_tokens is not None:
            self.output_tokens = (self.output_tokens or 0) + used.output_tokens

    def metrics(self, seconds: float) -> Metrics:
        """Return metrics with these totals and the duration `seconds`, rounded to milliseconds."""
        return Metrics(
            duration_seconds=round(seconds, 3), input_tokens=self.input_tokens, output_tokens=self.output_tokens
        )
