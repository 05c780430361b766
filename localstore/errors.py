"""What can go wrong, each error also the standard type that fits.

Every error names what it is about (`path`, `session_id`), ends with what to do next, and survives pickling.
"""


class LocalstoreError(Exception):
    """The root of all errors that localstore raises itself. Errors of the operating system stay `OSError`."""

    def __init__(self, message: str, *, path: str | None = None, session_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.session_id = session_id

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), dict(self.__dict__))


def _rebuild(kind: type[LocalstoreError], attributes: dict[str, object]) -> LocalstoreError:
    error = kind.__new__(kind, attributes["message"])
    error.args = (attributes["message"],)
    error.__dict__.update(attributes)
    return error


class OwnerMismatch(LocalstoreError, PermissionError):
    """The session belongs to another user. Nothing was written."""


class KindMismatch(LocalstoreError, ValueError):
    """The session is of another kind (agent, team, workflow). Nothing was written."""


class SessionNotFound(LocalstoreError, LookupError):
    """There is no session with this id."""


class RunNotFound(LocalstoreError, LookupError):
    """The session has no run with the id `run_id`. Nothing was written."""

    def __init__(
        self, message: str, *, path: str | None = None, session_id: str | None = None, run_id: str | None = None
    ) -> None:
        super().__init__(message, path=path, session_id=session_id)
        self.run_id = run_id


class StoreNotFound(LocalstoreError, FileNotFoundError):
    """There is no store at this path."""


class DocumentBroken(LocalstoreError, ValueError):
    """A document cannot be read as a session. It is left byte for byte as it is.

    `problem` says what is wrong without the place and the advice, '' where the message says it all. `line` and `column`
    are 1-based and None where unknown; `rescued` is the file in which a run that could not be
    written is kept, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        session_id: str | None = None,
        problem: str = "",
        line: int | None = None,
        column: int | None = None,
        rescued: str | None = None,
    ) -> None:
        super().__init__(message, path=path, session_id=session_id)
        self.problem = problem
        self.line = line
        self.column = column
        self.rescued = rescued


class NewerFormat(LocalstoreError, ValueError):
    """A newer localstore wrote this. It is left byte for byte as it is."""


class OlderFormat(LocalstoreError, ValueError):
    """An older format that has to be upgraded first. It is left byte for byte as it is."""


class LockTimeout(LocalstoreError, TimeoutError):
    """Another thread or process held the lock at `path` for longer than `lock_timeout`. Nothing was written."""


class Conflict(LocalstoreError, RuntimeError):
    """The same thing was changed here and in the store. Nothing was written."""


class StateConflict(Conflict):
    """Keys of the session's state were changed here and by another run meanwhile. `keys` names them."""

    def __init__(
        self, message: str, *, keys: tuple[str, ...] = (), path: str | None = None, session_id: str | None = None
    ) -> None:
        super().__init__(message, path=path, session_id=session_id)
        self.keys = keys


class WorkflowChanged(LocalstoreError, ValueError):
    """A run was begun with other steps than the workflow has now. Nothing was done."""


class ResponseInvalid(LocalstoreError, ValueError):
    """The model's answer does not fit the `response_model`, not even after it was told what is wrong.

    `answer` is the text that it gave last.
    """

    def __init__(
        self, message: str, *, answer: str = "", path: str | None = None, session_id: str | None = None
    ) -> None:
        super().__init__(message, path=path, session_id=session_id)
        self.answer = answer


class UnstorableValue(LocalstoreError, ValueError):
    """A value has no form in a document. Nothing was written. `where` says where it sits: `session_state.cart[2]`."""

    def __init__(
        self, message: str, *, where: str = "", path: str | None = None, session_id: str | None = None
    ) -> None:
        super().__init__(message, path=path, session_id=session_id)
        self.where = where
