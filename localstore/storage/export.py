"""Export the sessions of a store as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from localstore.errors import DocumentBroken, NewerFormat, OlderFormat, reason
from localstore.models.schema import Rating

if TYPE_CHECKING:
    from pathlib import Path

    from localstore.models.session import Run, Session
    from localstore.models.session_info import SessionInfo

ExportFormat = Literal["markdown", "html", "json", "openai-jsonl", "atif"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)


@dataclass(frozen=True, slots=True)
class NotExported:
    """Something that an export left out: a run, or a document that cannot be read.

    `session_id`, `run_id` and `path` are None where they do not apply. `problem` says why, and `error` is the error of
    the read, if there was one.
    """

    problem: str
    session_id: str | None = None
    run_id: str | None = None
    path: Path | None = None
    error: Exception | None = None


class Export:
    """An export of sessions. Iterate over it for the pieces of its text; the sessions are read meanwhile.

    `exported` is the number of sessions so far, and `left_out` lists what is not in the export.
    """

    def __init__(
        self,
        form: ExportFormat,
        sessions: Iterable[SessionInfo],
        read: Callable[[str], Session | None],
        *,
        rating: Rating | None,
        limit: int | None,
        redact: bool,
        unreadable: Callable[[], Mapping[Path, str]],
        report: Callable[[NotExported], object] | None,
    ) -> None:
        self._form = form
        self._sessions = sessions
        self._read = read
        self._rating = rating
        self._limit = limit
        self._redact = redact
        self._unreadable = unreadable
        self._report = report
        self.exported = 0
        self.left_out: list[NotExported] = []

    def __iter__(self) -> Iterator[str]:
        from localstore.exporting import (
            atif_lines,
            html_page,
            json_array,
            markdown_text,
            openai_lines,
        )

        sessions = self.sessions()
        if self._form == "openai-jsonl":
            return openai_lines(sessions, self._leave_out_run, per_run=self._rating is not None)
        writers = {"markdown": markdown_text, "html": html_page, "json": json_array, "atif": atif_lines}
        return writers[self._form](sessions)

    def sessions(self) -> Iterator[Session]:
        """Yield the sessions of the export as they are read, for what writes them in a way of its own."""
        from localstore.exporting import without_secrets

        self.exported, self.left_out = 0, []
        for path, problem in self._unreadable().items():
            self._leave_out(NotExported(problem, path=path))
        return map(without_secrets, self._selected()) if self._redact else self._selected()

    def _selected(self) -> Iterator[Session]:
        from localstore.exporting import only_rated

        for info in self._sessions:
            if self.exported == self._limit:
                return
            try:
                session = self._read(info.session_id)
            except (DocumentBroken, NewerFormat, OlderFormat, PermissionError) as error:
                path = info.path if info.has_file else None
                self._leave_out(NotExported(reason(error), info.session_id, path=path, error=error))
                continue
            if session is not None and self._rating is not None:
                session = only_rated(session, self._rating)
            if session is not None:
                self.exported += 1
                yield session

    def _leave_out_run(self, session: Session, run: Run, why: str) -> None:
        self._leave_out(NotExported(why, session.session_id, run.run_id))

    def _leave_out(self, one: NotExported) -> None:
        self.left_out.append(one)
        if self._report is not None:
            self._report(one)
