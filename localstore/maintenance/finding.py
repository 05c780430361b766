"""Findings: what `check` and `repair` report to a person."""

import shlex
from dataclasses import dataclass
from typing import Any, Literal

from localstore.disk import store_tree

Kind = Literal["mode", "torn", "leftover", "duplicate", "conflict", "manifest", "copy"]
"""The kinds of problem that a repair can fix: wrong permissions, a torn document, a leftover temporary file, a copy of
a session beside its document, merge conflicts of git in a document, a manifest that does not match the documents, and
a folder that is a copy of a store and does not say so yet."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check or a repair, about one file.

    Attributes:
        severity: `error` for a problem, `note` for a hint, `repair` for something that was repaired.
        path: The absolute path of the file.
        line: The line, counted from 1, or None if it is not known.
        problem: A clause that continues the path, such as "is missing".
        advice: A sentence that says what to do; for a repair, what was done or, in a dry run, what would be done.
        kind: The kind of repair that fixes the problem, or None if only a person can fix it.
    """

    severity: Literal["error", "note", "repair"]
    path: str
    line: int | None
    problem: str
    advice: str
    kind: Kind | None = None

    @property
    def place(self) -> str:
        """The place of the finding as `path:line`, or only the path if no line is known."""
        return self.path if self.line is None else f"{self.path}:{self.line}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Reporter:
    """Makes findings about the files of one store. Paths are relative to its root, with slashes."""

    root: str

    def error(self, path: str, problem: str, advice: str, line: int | None = None, kind: Kind | None = None) -> Finding:
        """Return an error about the file at `path`. The arguments are those of `Finding`."""
        return Finding("error", store_tree.full_path(self.root, path), line, problem, advice, kind)

    def note(self, path: str, problem: str, advice: str, line: int | None = None, kind: Kind | None = None) -> Finding:
        """Return a note about the file at `path`. The arguments are those of `Finding`."""
        return Finding("note", store_tree.full_path(self.root, path), line, problem, advice, kind)


def part_without_session(session_id: str, part_of: str) -> tuple[str, str]:
    """Return the problem of a sub-session whose session does not exist, and what to do."""
    advice = f"Listings leave it out. If nothing needs it, remove it: localstore rm {shlex.quote(session_id)}"
    return f"is a sub-session of {part_of!r}, which does not exist", advice
