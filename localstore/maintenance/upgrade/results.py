"""What came of rewriting many documents."""

from dataclasses import dataclass, field
from typing import Any

from localstore.errors import DocumentBroken


@dataclass(frozen=True, slots=True)
class Problem:
    """A document that stays as it is. `path` is absolute; `line` and `column` count from 1, None where unknown."""

    path: str
    problem: str
    line: int | None = None
    column: int | None = None

    @classmethod
    def of(cls, path: str, error: Exception) -> "Problem":
        """What an error says about the document at `path`, without the advice that is the same for all."""
        if isinstance(error, DocumentBroken):
            words = (error.problem or str(error)).removeprefix(f"{path} ").partition(" Nothing was ")[0]
            return cls(path, words.rstrip("."), error.line, error.column)
        if isinstance(error, OSError) and error.strerror and not hasattr(error, "message"):
            where = "" if error.filename in (None, path) else f" ({error.filename})"
            return cls(path, f"{error.strerror}{where}")
        return cls(path, str(error).removeprefix(f"{path} ").partition(" Nothing was ")[0].rstrip("."))

    def __str__(self) -> str:
        place = "" if self.line is None else f", line {self.line}"
        place += "" if self.column is None else f", column {self.column}"
        return f"{self.path}{place}: {self.problem}"

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values, those without a value left out."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade or a conversion did: how many documents were rewritten, which were not, and the name of the
    backup that holds their old selves (None when there was nothing to do)."""

    documents: int = 0
    problems: list[Problem] = field(default_factory=list)
    backup: str | None = None


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo did: how many documents are as they were, byte for byte, how many were changed since and stand in
    the old form with all that was added, and which stay as they are."""

    backup: str
    restored: int
    changed: int
    problems: list[Problem]
