"""Counts the tokens of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from localstore.models.session import Metrics

_COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")


class HasTokens(Protocol):
    """An object with token counts: a model's reply, or the metrics of a run or a step."""

    @property
    def input_tokens(self) -> int | None: ...

    @property
    def output_tokens(self) -> int | None: ...

    @property
    def cached_tokens(self) -> int | None: ...

    @property
    def reasoning_tokens(self) -> int | None: ...


@dataclass(slots=True)
class TokenCount:
    """The total numbers of tokens. A total is None until a number has been added to it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    def add(self, used: HasTokens) -> None:
        """Add the token counts of `used`. A count of None is ignored."""
        for name in _COUNTS:
            count = getattr(used, name)
            if count is not None:
                setattr(self, name, (getattr(self, name) or 0) + count)

    def metrics(self, seconds: float) -> Metrics:
        """Return metrics with these totals and the duration `seconds`, rounded to milliseconds."""
        return Metrics(
            input_tokens=self.input_tokens,
            cached_tokens=self.cached_tokens or None,  # most servers send 0, which says nothing to a reader
            output_tokens=self.output_tokens,
            reasoning_tokens=self.reasoning_tokens or None,
            duration_seconds=round(seconds, 3),
        )
