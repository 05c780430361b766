"""The results of upgrades, conversions and undos."""

from dataclasses import dataclass, field
from typing import Any

from localstore.errors import DocumentBroken


@dataclass(frozen=True, slots=True)
class Problem:
    """The reason why a document was not rewritten. `problem` is a clause that continues `path`, an absolute path.

    `line` and `column` count from 1; None if they are unknown.
    """

    path: str
    problem: str
    line: int | None = None
    column: int | None = None

    @classmethod
    def of(cls, path: str, error: Exception) -> "Problem":
        """Return the problem that an error reports for the document at `path`, without the general advice."""
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
        """Return the fields that are not None as plain JSON values."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The result of an upgrade or a conversion.

    `documents` is the number of documents that were rewritten, and `problems` lists those that could not be. `backup`
    is the name of the backup that holds the old documents; None if there was nothing to do.
    """

    documents: int = 0
    problems: list[Problem] = field(default_factory=list)
    backup: str | None = None


@dataclass(frozen=True, slots=True)
class Undone:
    """The result of an undo.

    `backup` is the name of the backup. `restored` is the number of documents that are byte for byte as they were.
    `changed` is the number of those that were modified after the upgrade or conversion: they were converted back to the
    old form and keep everything added since. `problems` lists the documents that were left as they are.
    """

    backup: str
    restored: int
    changed: int
    problems: list[Problem]
