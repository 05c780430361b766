"""The errors of localstore. Each one also derives from the standard exception that fits best.

Every error has the attributes `path` and `session_id`, each None if the error is not about a file or a session. Its
message ends with what to do next. Errors can be pickled.
"""


class LocalstoreError(Exception):
    """The base class of all errors that localstore raises itself.

    Catch it to handle them all. Errors of the operating system are raised unchanged, as `OSError`; a write may have
    taken effect before such an error is raised.

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
    """Raised when a call names one kind (agent, team, workflow) and the session is of another. Nothing was written.

    Use the kind of the session, or another `session_id`.
    """


class SessionNotFound(LocalstoreError, LookupError):
    """Raised when a call needs an existing session and the store has none with this id, for example after a deletion.

    Check the id, or let the call create the session.
    """


class RunNotFound(LocalstoreError, LookupError):
    """Raised when the session has no run with the id `run_id`. Nothing was written.

    Check the id: `session.runs` lists the runs of the session.
    """

    def __init__(
        self, message: str, *, path: str | None = None, session_id: str | None = None, run_id: str | None = None
    ) -> None:
        super().__init__(message, path=path, session_id=session_id)
        self.run_id = run_id


class NoFile(LocalstoreError, LookupError):
    """Raised when a call needs the file of a session, and the session is in a database.

    Use a call that needs no file, or copy the session to a folder.
    """


class StoreUnavailable(LocalstoreError, ConnectionError):
    """Raised when a database cannot be reached or refuses to work. A write may have taken effect.

    The message says why. Repeat the call to make sure: no run is stored twice.
    """


class StoreNotFound(LocalstoreError, FileNotFoundError):
    """Raised when a call needs an existing store and there is none at `path`.

    Check the path, or create the store.
    """


class BackupNotFound(LocalstoreError, LookupError):
    """Raised when a store has no backup with this name, or several whose names begin with it, or no backup at all.

    Check the name: `localstore backups` lists them.
    """


class DocumentBroken(LocalstoreError, ValueError):
    """Raised when a document cannot be read as a session or cannot be changed safely. Its bytes stay unchanged.

    Fix the file in an editor. `localstore check` lists every problem in a store.

    Args:
        problem: The problem alone, without its position and advice; empty if only the message describes it.
        line: The line of the problem, counted from 1; None if unknown.
        column: The column of the problem in characters, counted from 1; None if unknown.
        rescued: The path of the rescue file that holds the run that could not be written; None if there is none.
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
    """Raised when a newer version of localstore wrote the store or the document. Its bytes stay unchanged.

    Update localstore.
    """


class OlderFormat(LocalstoreError, ValueError):
    """Raised when a call would change a document in an older schema version, or opens a folder of agno 1.x as a store.

    The bytes of the document stay unchanged. Upgrade the store first, with `localstore upgrade` or
    `storage.upgrade_schema()`.
    """


class LockTimeout(LocalstoreError, TimeoutError):
    """Raised when another thread or process holds the lock at `path` for longer than `lock_timeout` seconds.

    Nothing was written. Try again, or use a longer `lock_timeout`.
    """


class Conflict(LocalstoreError, RuntimeError):
    """Raised when the caller and another writer changed the same part of a session. The document was not changed.

    Read the session again and repeat the change. `rescued` is the path of the rescue file that holds the run that could
    not be written; None if there is none.
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


class StateInvalid(LocalstoreError, ValueError):
    """Raised when a session state does not fit the `state_model` of the agent, team or workflow. Nothing was written.

    Correct the value, or the class. `localstore state` edits the state of a stored session.
    """


class WorkflowChanged(LocalstoreError, ValueError):
    """Raised when the steps of a workflow have changed since the run to continue was started. No step was run.

    Continue the run with the earlier steps, or start a new run.
    """


class ResponseInvalid(LocalstoreError, ValueError):
    """Raised when the model's answer does not match the `response_model`, even after the model was asked to correct it.

    `answer` is the text of the model's last answer. Ask again, or use a model that supports JSON schemas.
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


def reason(error: Exception) -> str:
    """Return the message of an error as it stands in a list of what could not be done.

    For an error of the system, that is the file, what happened, and what to do.

    >>> reason(PermissionError(13, "Permission denied", "trip.json"))
    'trip.json: Permission denied. Check the permissions and try again.'
    """
    if isinstance(error, LocalstoreError) or not isinstance(error, PermissionError) or not error.filename:
        return str(error)
    return f"{error.filename}: {error.strerror}. Check the permissions and try again."
