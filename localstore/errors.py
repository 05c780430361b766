"""The errors of localstore. Each one is also the standard exception that fits best.

Every error carries the `path` and the `session_id` that it is about, if there are any, ends its message with what to do
next, and can be pickled.
"""


class LocalstoreError(Exception):
    """The base class of all errors that localstore raises itself.

    Catch it to handle them all. Errors of the operating system are raised as they are, as `OSError`.

    >>> str(LocalstoreError("The store is full. Use another one.", path="/stores/a"))
    'The store is full. Use another one.'
    """

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
    """Raised when a session is opened for one user but belongs to another. Nothing was written.

    Use the `user_id` of the session, or another `session_id`.
    """


class KindMismatch(LocalstoreError, ValueError):
    """Raised when a session is used as one kind (agent, team, workflow) but is of another. Nothing was written.

    Use the kind of the session, or another `session_id`.
    """


class SessionNotFound(LocalstoreError, LookupError):
    """Raised when a call needs an existing session and the store has none with this id, or it was deleted.

    Check the id, or let the call create the session.
    """


class RunNotFound(LocalstoreError, LookupError):
    """Raised when the session has no run with the id `run_id`. Nothing was written.

    Check the id: `session.runs` has those of the session.
    """

    def __init__(
        self, message: str, *, path: str | None = None, session_id: str | None = None, run_id: str | None = None
    ) -> None:
        super().__init__(message, path=path, session_id=session_id)
        self.run_id = run_id


class StoreNotFound(LocalstoreError, FileNotFoundError):
    """Raised when a store is opened with `create=False` and there is none at `path`.

    Check the path, or create the store.
    """


class DocumentBroken(LocalstoreError, ValueError):
    """Raised when a document cannot be read as a session. The file stays byte for byte as it is.

    Fix the file in an editor. `localstore check` lists every problem in a store.

    Args:
        problem: What is wrong, without position and advice; empty if the message says nothing else.
        line: The line of the problem, counted from 1; None if unknown.
        column: The column of the problem in characters, counted from 1; None if unknown.
        rescued: The path of the rescue file that keeps the run that could not be written; None if there is none.
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
    """Raised when a newer localstore wrote a store or a document. It stays byte for byte as it is.

    Update localstore.
    """


class OlderFormat(LocalstoreError, ValueError):
    """Raised when a document of an older schema version would have to be changed. It stays byte for byte as it is.

    Upgrade the store first, with `localstore upgrade` or `storage.upgrade_schema()`.
    """


class LockTimeout(LocalstoreError, TimeoutError):
    """Raised when another thread or process held the lock at `path` for longer than `lock_timeout`.

    Nothing was written. Try again, or use a longer `lock_timeout`.
    """


class Conflict(LocalstoreError, RuntimeError):
    """Raised when the caller and somebody else changed the same part of a session. The document was not changed.

    Read the session again and repeat the change. `rescued` is the file in which a run that could not be stored is
    kept, or None.
    """

    def __init__(
        self, message: str, *, path: str | None = None, session_id: str | None = None, rescued: str | None = None
    ) -> None:
        super().__init__(message, path=path, session_id=session_id)
        self.rescued = rescued


class StateConflict(Conflict):
    """Raised when the caller and another run changed the same `keys` of the session's state. Nothing was written.

    Read the session again and repeat the change.
    """

    def __init__(
        self, message: str, *, keys: tuple[str, ...] = (), path: str | None = None, session_id: str | None = None
    ) -> None:
        super().__init__(message, path=path, session_id=session_id)
        self.keys = keys


class WorkflowChanged(LocalstoreError, ValueError):
    """Raised when an interrupted run was started with other steps than the workflow has now. Nothing was done.

    Continue it with the workflow as it was, or start a new run.
    """


class ResponseInvalid(LocalstoreError, ValueError):
    """Raised when the model's answer does not match the `response_model`, even after the model was asked to correct it.

    `answer` is the text of its last answer. Ask again, or use a model that knows JSON schemas.
    """

    def __init__(
        self, message: str, *, answer: str = "", path: str | None = None, session_id: str | None = None
    ) -> None:
        super().__init__(message, path=path, session_id=session_id)
        self.answer = answer


class UnstorableValue(LocalstoreError, ValueError):
    """Raised when a value cannot be written to a document, such as NaN or an arbitrary object. Nothing was written.

    `where` is the position of the value, such as `session_state.cart[2]`. Convert it to text, numbers, lists or dicts.
    """

    def __init__(
        self, message: str, *, where: str = "", path: str | None = None, session_id: str | None = None
    ) -> None:
        super().__init__(message, path=path, session_id=session_id)
        self.where = where
