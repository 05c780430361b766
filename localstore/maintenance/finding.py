"""What `check` finds and what `repair` does, in words for a person."""

from dataclasses import dataclass
from typing import Any, Literal

from localstore.disk import store_tree

Kind = Literal["mode", "torn", "leftover", "duplicate", "manifest"]
"""What a repair can fix: wrong permissions, a torn document, a leftover temporary file, a `session_id` that two
documents share, a manifest that does not match the documents."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong (`error`), worth knowing (`note`) or repaired (`repair`), at an absolute path.

    `line` counts from 1 and is None where no line is known. `problem` is a clause. `advice` is a sentence that says
    what to do or, for a repair, what was done. `kind` is None if only a person can fix it.
    """

    severity: Literal["error", "note", "repair"]
    path: str
    line: int | None
    problem: str
    advice: str
    kind: Kind | None = None

    @property
    def place(self) -> str:
        """`path:line`, or only the path if no line is known."""
        return self.path if self.line is None else f"{self.path}:{self.line}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Reporter:
    """Makes findings about the files of one store. Paths are relative to its root, with slashes."""

    root: str

    def error(self, path: str, problem: str, advice: str, line: int | None = None, kind: Kind | None = None) -> Finding:
        """Return a finding about something that is wrong."""
        return Finding("error", store_tree.full_path(self.root, path), line, problem, advice, kind)

    def note(self, path: str, problem: str, advice: str, line: int | None = None, kind: Kind | None = None) -> Finding:
        """Return a finding about something worth knowing."""
        return Finding("note", store_tree.full_path(self.root, path), line, problem, advice, kind)
