"""The part of a document that a person edits: all of it, or one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localstore.errors import DocumentBroken

if TYPE_CHECKING:
    from pathlib import Path

    from localstore.storage.edited_document import RunText


@dataclass(frozen=True, slots=True)
class EditedPart:
    """The part of a document to edit, between the bytes `before` and `after`. `path` is that of the document."""

    path: Path
    before: bytes
    text: bytes
    after: bytes
    is_run: bool

    @classmethod
    def whole(cls, document: bytes, path: Path) -> EditedPart:
        """Return the whole document as the part to edit."""
        return cls(path, b"", document, b"", is_run=False)

    @classmethod
    def of_run(cls, document: bytes, path: Path, run: RunText) -> EditedPart:
        """Return one run of the document as the part to edit."""
        return cls(path, document[: run.start], document[run.start : run.end], document[run.end :], is_run=True)

    @property
    def shown(self) -> bytes:
        """The text for the editor. A run ends with a newline there, which many editors would add."""
        return self.text if self.text.endswith(b"\n") or not self.is_run else self.text + b"\n"

    def document_with(self, typed: bytes) -> bytes:
        """Return the document with the text that came back from the editor.

        Raises DocumentBroken if it is the empty text in place of a run.
        """
        if typed == self.shown:
            typed = self.text
        elif self.is_run:
            if not typed.strip():
                problem = "the run is missing. 'localstore edit --drop-run' takes a run out"
                raise DocumentBroken(problem, path=str(self.path), problem=problem, line=1)
            typed = typed.rstrip() + (b"\n" if self.text.endswith(b"\n") else b"")
        return self.before + typed + self.after

    def check(self) -> None:
        """Raise DocumentBroken if the document is broken, and OlderFormat or NewerFormat if it cannot be written."""
        from localstore.storage.edited_document import check_editable

        check_editable(self.before + self.text + self.after, self.path)

    def refusal(self, error: DocumentBroken, where: str) -> DocumentBroken:
        """Return an error about the document as one about the text, which is in the file `where`."""
        line = None if error.line is None else max(1, error.line - self.before.count(b"\n"))
        place = "" if line is None else f", line {line}"
        place += "" if line is None or error.column is None else f", column {error.column}"
        return DocumentBroken(
            f"{where}{place}: {error.problem}. Nothing was stored. Correct it and try again.",
            path=where,
            problem=error.problem,
            line=line,
            column=error.column,
        )
