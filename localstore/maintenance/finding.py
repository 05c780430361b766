"""What a check finds and a repair does, in words for a person."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["mode", "torn", "leftover", "duplicate", "manifest"]
"""What a repair can mend: wrong permissions, a torn document, a temporary file that was left, a `session_id` that two
documents have, a manifest that does not fit the documents."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong (`error`), worth knowing (`note`) or mended (`repair`), at an absolute path.

    `line` counts from 1, None where no line is known. `problem` is a clause, `advice` says in a sentence what to do,
    of a `repair` what is done. `kind` says what a repair takes it for, None where only a person can tell.
    """

    severity: Literal["error", "note", "repair"]
    path: str
    line: int | None
    problem: str
    advice: str
    kind: Kind | None = None

    @property
    def place(self) -> str:
        """`path:line`, or the path alone."""
        return self.path if self.line is None else f"{self.path}:{self.line}"

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}
