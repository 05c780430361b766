"""Change one document under its lock, again if another program wrote to it meanwhile."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from localstore.engine.open_document import ConcurrentChange
from localstore.engine.opening import EngineOpening
from localstore.engine.transaction import Transaction
from localstore.format.document import LayoutMismatch

_ATTEMPTS = 5
"""The most attempts at one change. Each attempt that collides with another program's write is repeated."""


class Edit:
    """The attempts to change one document. Iterate over it, and enter each attempt:

        for attempt in engine.edit(session_id):
            with attempt as document:
                ...

    `document` is None if the session does not exist. The session's lock is held inside the `with` statement. If
    another program writes to the file during an attempt, the `with` statement suppresses the exception and the loop
    makes another attempt. The body must then repeat all of its decisions, because the document may be different. Any
    other exception ends the loop and propagates. After too many attempts, entering raises DocumentBroken.
    """

    def __init__(self, engine: EngineOpening, session_id: str, *, names_copies: bool) -> None:
        self._engine = engine
        self._names_copies = names_copies
        self._session_id = session_id
        self._attempts = 0
        self._is_done = False
        self._lock: AbstractContextManager[None] | None = None
        self._document: Transaction | None = None

    @property
    def is_repeated(self) -> bool:
        """True if an earlier attempt failed. The document may nevertheless contain what that attempt wrote."""
        return self._attempts > 1

    def __iter__(self) -> Iterator[Self]:
        while not self._is_done:
            yield self

    def __enter__(self) -> Transaction | None:
        engine = self._engine
        while True:
            self._count_attempt()
            engine.load_format_of(self._session_id)
            self._lock = engine.locks.session(self._session_id, engine.timeout)
            self._lock.__enter__()
            try:
                self._document = engine.open_document(self._session_id)
                return self._document
            except BaseException as error:
                self._lock.__exit__(None, None, None)
                if not isinstance(error, (ConcurrentChange, LayoutMismatch)):
                    raise
            engine.distrust(self._session_id)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        assert self._lock is not None  # noqa: S101 (for the type checker)
        document, self._document = self._document, None
        try:
            if document is not None:
                try:
                    if document.changed:
                        note = self._engine.index.own_change(document.row["path"], document.watch)
                        self._engine.manifest.record([document.row], note)
                        self._engine.index.keep_scan(note)
                finally:
                    document.__exit__(kind, error, trace)
                self._engine.repair_others(self._session_id, document.marks)
        finally:
            self._lock.__exit__(None, None, None)
        if isinstance(error, (ConcurrentChange, LayoutMismatch)):
            self._engine.distrust(self._session_id)
            return True
        if isinstance(error, FileNotFoundError):
            self._engine.locks.check_store()  # raises the error that says what is missing: the store
        self._is_done = True
        if error is None and self._names_copies:
            self._engine.copies.warn(self._session_id)
        return False

    def _count_attempt(self) -> None:
        self._attempts += 1
        if self._attempts > _ATTEMPTS:
            raise self._engine.keeps_changing_error(self._session_id, self._engine.index.find(self._session_id))
