"""Replace secrets in the documents of sessions, and keep the old documents in a backup."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from localstore.disk import backup_folder, store_tree
from localstore.disk.document_file import DocumentFile
from localstore.engine.engine import Engine
from localstore.engine.transaction import older_format_error
from localstore.errors import LocalstoreError, SessionNotFound
from localstore.format.document import ParsedDocument
from localstore.format.redacted_document import redacted_document
from localstore.format.redaction import SECRETS, Redaction, Redactor, Rule, rule_of, saved_rules
from localstore.index.search_index import SearchIndex
from localstore.maintenance.upgrade.batches import rewrite_all
from localstore.maintenance.upgrade.results import Problem
from localstore.models.schema import SCHEMA_VERSION

ACTION = "redact"
"""What the backup of a redaction says that made it."""


@dataclass(frozen=True, slots=True)
class RedactedSession:
    """What was found in the documents of one session, in their order."""

    session_id: str
    redactions: tuple[Redaction, ...]


@dataclass(frozen=True, slots=True)
class Redacted:
    """The result of a redaction, or of a dry run.

    `documents` is the number of documents that were changed; in a dry run, of those that would be. `sessions` are those
    in which something was found, `problems` the documents that could not be redacted. `backup` is the name of the
    backup that has the old documents; None if nothing was changed. In a database, the old sessions are in the trash
    instead, under the names in `trashed`.
    """

    documents: int = 0
    sessions: tuple[RedactedSession, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    backup: str | None = None
    trashed: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """The number of secrets that were replaced, or would be. Ids stay and do not count."""
        return sum(one.count for session in self.sessions for one in session.redactions if not one.is_id)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        places = [
            {
                "session_id": session.session_id,
                **{name: getattr(one, name) for name in ("place", "rule", "count", "excerpt", "is_id")},
            }
            for session in self.sessions
            for one in session.redactions
        ]
        problems = [problem.as_dict() for problem in self.problems]
        kept = {"backup": self.backup, **({"trashed": [*self.trashed]} if self.trashed else {})}
        return {"documents": self.documents, **kept, "places": places, "problems": problems}


def redaction_rules(patterns: Iterable[str], *, secrets: bool) -> tuple[Rule, ...]:
    """Return the rules for regular expressions, then those for secrets. Raises ValueError if there are none."""
    rules = (*map(rule_of, patterns), *(SECRETS if secrets else ()))
    if not rules:
        raise ValueError("nothing to redact. Give patterns, or secrets=True.")
    return rules


def redact(engine: Engine, session_ids: Sequence[str], rules: Sequence[Rule], *, dry_run: bool) -> Redacted:
    """Replace what the rules match in the documents of sessions, and return the result; see `Storage.redact`.

    Raises SessionNotFound before anything is changed; LockTimeout if an upgrade, a conversion or another redaction is
    running; and OSError if the disk has too little free space.
    """
    paths = {session_id: _paths(engine, session_id) for session_id in dict.fromkeys(session_ids)}
    found: dict[str, list[Redaction]] = {}

    def transform(old: ParsedDocument, path: str) -> tuple[str, ParsedDocument] | None:
        if old.version != SCHEMA_VERSION:
            raise older_format_error(old, store_tree.full_path(engine.root, path), engine.root)
        redactor = Redactor(rules)
        new = redacted_document(old, redactor, path)
        found[path] = redactor.found
        return None if new is None else (path, new)

    if dry_run:
        documents, problems = _try_all(engine.root, [path for some in paths.values() for path in some], transform)
        return Redacted(documents, _sessions(paths, found), problems)
    with engine.locks.migration(engine.timeout):
        backup_folder.tidy(engine.root, old=True)
        backup = backup_folder.make(engine.root, ACTION, finished=False, rules=saved_rules(rules))
        outcome = rewrite_all(
            engine.root,
            backup,
            [path for some in paths.values() for path in some],
            transform,
            processes=1,
            lock_timeout=engine.timeout,
            progress=None,
        )
        name = backup.finish()
        # Also if nothing was found: an earlier call may have been interrupted before this.
        engine.manifest.forget_outdated()
        SearchIndex(engine.root, engine.locks, None).discard()
    return Redacted(outcome.documents, _sessions(paths, found), outcome.problems, name)


def _paths(engine: Engine, session_id: str) -> list[str]:
    """Return the paths of all documents of a session, that of its document first."""
    row = engine.index.find_anywhere(session_id)
    if row is None:
        raise SessionNotFound(f"There is no session {session_id!r}. Check the id.", session_id=session_id)
    engine.index.scan()  # a second document of the session is noticed
    return [row["path"], *(path for path in engine.index.duplicates_of(session_id) if path != row["path"])]


def _try_all(
    root: str, paths: Iterable[str], transform: Callable[[ParsedDocument, str], object | None]
) -> tuple[int, list[Problem]]:
    """Transform documents without writing. Return how many would change, and the problems of the others."""
    documents = 0
    problems = []
    for path in paths:
        full_path = store_tree.full_path(root, path)
        try:
            with DocumentFile(full_path) as file:
                parsed = file.parse()
            documents += transform(parsed, path) is not None
        except (LocalstoreError, OSError) as error:
            problems.append(Problem.of(full_path, error))
    return documents, problems


def _sessions(paths: dict[str, list[str]], found: dict[str, list[Redaction]]) -> tuple[RedactedSession, ...]:
    sessions = (
        RedactedSession(session_id, tuple(one for path in some for one in found.get(path, ())))
        for session_id, some in paths.items()
    )
    return tuple(session for session in sessions if session.redactions)
