"""Read a whole store and report its problems. No file is changed.

A lock is taken only to read a document a second time, if it cannot be parsed or is not in localstore's own layout.
"""

import contextlib
import os
import shlex
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from localstore.disk import backup_folder, file_names, rescue_folder, store_tree, temporary_files
from localstore.disk.conflict_copies import copy_name
from localstore.disk.document_file import ELSEWHERE, FETCH, DocumentFile
from localstore.disk.store_tree import Opened
from localstore.engine.engine import Engine
from localstore.errors import DocumentBroken, LocalstoreError
from localstore.format.document import EMPTY_ADVICE, EMPTY_PROBLEMS, ParsedDocument
from localstore.format.recovery import CreationLost, RecoveredDocument, parse_without_end_marker
from localstore.index.row import IndexRow, row_of
from localstore.index.row_reader import rank
from localstore.index.whole_document import parse_whole
from localstore.maintenance import copy_checks, git
from localstore.maintenance.document_checks import future_times, repeated_runs, unwritable, wrong_fields
from localstore.maintenance.finding import Finding, Kind, Reporter, part_without_session
from localstore.maintenance.git_merge import unite_in_file
from localstore.maintenance.manifest_checks import ManifestCheck
from localstore.maintenance.tree_checks import TreeCheck
from localstore.models.schema import SCHEMA_VERSION

SUPERSEDED = "is an old version of a document, left over from an interrupted write that replaced it"
"""The problem reported for a leftover file that holds nothing to keep."""

UNITE = "Fix it in an editor, or unite both sides with: localstore check --repair"
"""What to do about a document in which git left two versions."""

_PATIENCE = 2
"""Seconds to wait for another program to finish writing."""


def check(store: Opened | Path | str) -> "Check":
    """Return a check of a store, given as an open storage or a path. Iterate over the result to get the findings.

    The check runs during the iteration: it parses and validates every document, then compares the documents with the
    manifest. It changes no file. Other programs may write in the meantime.

    >>> from localstore import JsonStorage
    >>> findings = check(JsonStorage("my-sessions"))
    >>> list(findings), findings.sessions
    ([], 0)

    Raises StoreNotFound, OlderFormat or NewerFormat if there is no usable store. Iterating raises OSError if the folder
    of the store cannot be read.
    """
    return Check(str(store_tree.root_of(store)))


class Check:
    """One pass over a store. Iterating runs it and yields the findings; a second iteration continues the first.

    `tree`, `rows`, `manifest` and `duplicates` are complete once the pass has ended; a repair uses them. Paths in them
    are relative to the root, with slashes.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._report = Reporter(root)
        self._engine = Engine(Path(root), durable=True, timeout=0)
        self.tree = TreeCheck(root)
        self.rows: dict[str, IndexRow] = {}
        """The correct manifest row of each readable document, by path."""
        self.manifest = ManifestCheck(root, self._engine.manifest, self.rows)
        self.duplicates: dict[str, str] = {}
        """Maps the path of each document whose id belongs to another document to the path of the other one."""
        self._unwritable: set[str] = set()
        self._findings = self._run()

    def __iter__(self) -> Generator[Finding, None, None]:
        return self._findings

    @property
    def sessions(self) -> int:
        """The number of documents found so far: all of them once the pass has ended."""
        return len(self.tree.documents)

    def _run(self) -> Generator[Finding, None, None]:
        yield from self.tree.findings()
        yield from copy_checks.of_store(self.root)
        with contextlib.suppress(OSError):  # the check of the manifest reports it
            self._engine.manifest.refresh()
        for path in self.tree.documents:
            yield from self._document(path)
        yield from self._duplicates()
        yield from self._names()
        yield from self._parts()
        yield from copy_checks.returned_sessions(self.root, self.rows)
        yield from self.manifest.findings()
        yield from self._interrupted_migrations()
        yield from self._leftovers()
        if git.lacks_driver(self.root):
            problem = "names the merge driver of localstore, which this clone does not have"
            advice = f"Register it with: localstore git init --store {shlex.quote(self.root)}"
            yield self._report.note(git.ATTRIBUTES, problem, advice)

    def _full(self, path: str) -> str:
        return store_tree.full_path(self.root, path)

    # Documents

    def _document(self, path: str) -> Iterator[Finding]:
        try:
            raw, status, content = self._read(path)
        except FileNotFoundError:
            return  # deleted since it was listed
        except OSError as error:
            yield self._report.error(path, f"cannot be read: {error.strerror}", "Check its permissions and the disk.")
            return
        except DocumentBroken as error:
            problem = error.problem or str(error)
            column = f" (column {error.column})" if error.column else ""
            is_lost = isinstance(error, CreationLost)
            advice = "The next write to the session removes it." if is_lost else "Fix it in an editor."
            kind: Kind | None = None
            if problem in EMPTY_PROBLEMS and not is_lost:
                advice = EMPTY_ADVICE
            elif problem == ELSEWHERE:
                advice = FETCH
            elif unite_in_file(self._full(path)) is not None:
                advice, kind = UNITE, "conflict"
            yield self._report.error(path, problem + column + self._of_copy(path), advice, error.line, kind)
            return
        except LocalstoreError as error:
            problem, _, advice = str(error).removeprefix(self._full(path)).strip().partition(" Nothing was changed. ")
            yield self._report.error(path, problem.rstrip("."), advice)
            return
        if isinstance(content, RecoveredDocument):
            torn_at = content.rest[0][0] if content.rest else len(raw)
            advice = f"The next write repairs it and keeps the rest in {rescue_folder.FOLDER}."
            yield self._report.error(path, "was torn by a crash", advice, raw.count(b"\n", 0, torn_at) + 1, "torn")
            return
        self.rows[path] = row_of(content, path, status, None)
        if content.version != SCHEMA_VERSION:
            advice = f"Upgrade it with: localstore upgrade {shlex.quote(self.root)}"
            yield self._report.note(
                path, f"has schema version {content.version}, which can be read but not written", advice
            )
        elif not content.in_layout:
            problem = "is valid, but not laid out as localstore writes it"
            yield self._report.note(path, problem, "Nothing to do; the next write rewrites it.")
        for finding in unwritable(self._full(path), content):
            self._unwritable.add(path)
            if unite_in_file(self._full(path)) is not None:
                finding = replace(finding, advice=UNITE, kind="conflict")
            yield finding
        yield from wrong_fields(self._full(path), content)
        yield from future_times(self._full(path), content)
        yield from repeated_runs(self._full(path), content)

    def _of_copy(self, path: str) -> str:
        """Return a clause that says of which document an unreadable file is a copy, judged by its name."""
        copied = copy_name(os.path.basename(path))
        while copied is not None:
            original = f"{os.path.dirname(path)}/{copied.original}"
            if original in self.tree.documents:
                return f". It seems to be a copy of {copied.original}{_made_by(path)}"
            copied = copy_name(copied.original)
        return ""

    def _read(self, path: str) -> tuple[bytes, os.stat_result, ParsedDocument | RecoveredDocument]:
        """Return the bytes, the status and the parsed content of a document.

        A document that cannot be parsed or is not in localstore's own layout is read again under its lock, because
        another program may have been writing it. Raises LocalstoreError, OSError.
        """
        try:
            raw, status, content = self._read_once(path)
            if isinstance(content, ParsedDocument) and content.in_layout:
                return raw, status, content
        except LocalstoreError:
            pass
        with ExitStack() as stack:
            self._wait_for_writer(path, stack)
            return self._read_once(path)

    def _read_once(self, path: str) -> tuple[bytes, os.stat_result, ParsedDocument | RecoveredDocument]:
        session_id = self._engine.manifest.session_at(path)
        row = None if session_id is None else self._engine.manifest.get(session_id)
        with DocumentFile(self._full(path)) as file:
            raw = file.read_all()
            content = parse_whole(raw, file, row, self._engine.locks)
            if isinstance(content, RecoveredDocument):
                content = parse_without_end_marker(raw, file.layout, content, file.path) or content
            return raw, file.status, content

    def _wait_for_writer(self, path: str, stack: ExitStack) -> None:
        """Take the lock of the document's session, to be released by `stack`, if its lock file exists.

        Without a lock file, nobody is writing. If the lock cannot be taken, or not in time, none is held.
        """
        manifest, locks = self._engine.manifest, self._engine.locks
        with contextlib.suppress(OSError):  # the lock cannot be taken, or not in time
            manifest.refresh()
            session_id = manifest.session_at(path)
            if session_id is not None and locks.has_been_used(session_id):
                stack.enter_context(locks.session(session_id, _PATIENCE))
                manifest.refresh()

    # Ids and names

    def _duplicates(self) -> Iterator[Finding]:
        """Yield an error for each document that has the id of another one, and add it to `duplicates`.

        The id belongs to the file with the name of the id, even if it cannot be read; else to the last one in the order
        of `rank`.
        """
        unread = {_stem(path): path for path in self.tree.documents if path not in self.rows}
        paths_by_id: dict[str, list[str]] = {}
        for path, row in self.rows.items():
            paths_by_id.setdefault(row["session_id"], []).append(path)
        for session_id, paths in paths_by_id.items():
            original = max(paths, key=lambda path: rank(self.rows[path]))
            document = unread.get(file_names.stem(session_id))
            if document is not None and not _is_named_after(original, session_id):
                advice = "First follow the advice for that file. Then unite them with: localstore merge"
                for path in paths:
                    self.duplicates[path] = document
                    problem = f"is a copy of {self._full(document)}, which cannot be read{_made_by(path)}"
                    yield self._report.error(path, problem, advice)
                continue
            for path in paths:
                if path != original:
                    self.duplicates[path] = original
                    advice = "It is not read. Unite them with: localstore merge. To keep both, change its session_id."
                    yield self._copy(path, f"has the same session_id as {self._full(original)}{_made_by(path)}", advice)
            if len(paths) == 1 and not _is_named_after(original, self.rows[original]["session_id"]):
                yield from self._only_copy(original)

    def _only_copy(self, path: str) -> Iterator[Finding]:
        """Yield an error for a document that has the name of a copy, if no file has the name of the document."""
        name = file_names.stem(self.rows[path]["session_id"]) + os.path.splitext(path)[1]
        if copy_name(os.path.basename(path)) and f"{os.path.dirname(path)}/{name}" not in self.tree.documents:
            self.duplicates[path] = path
            problem = f"has the name of a copy{_made_by(path)}, and there is no other document of its session"
            yield self._copy(path, problem, f"Rename it to {name} with: localstore merge")

    def _copy(self, path: str, problem: str, advice: str) -> Finding:
        kind: Kind | None = None if path in self._unwritable else "duplicate"
        return self._report.error(path, problem, advice, kind=kind)

    def _names(self) -> Iterator[Finding]:
        for path, row in self.rows.items():
            if path not in self.duplicates and not _is_named_after(path, row["session_id"]):
                expected = file_names.stem(row["session_id"]) + os.path.splitext(path)[1]
                advice = f"Rename it to {expected} to find it faster."
                taken = self.rows.get(f"{os.path.dirname(path)}/{expected}")
                if taken is not None:
                    holds = f"{expected} holds session {taken['session_id']!r}"
                    advice = f"{holds}. To find both faster, first give that file a free name, then rename this one."
                yield self._report.note(path, "is not named after its session_id", advice)

    def _parts(self) -> Iterator[Finding]:
        ids = {row["session_id"] for row in self.rows.values()}
        for path, row in self.rows.items():
            whole = row.get("part_of")
            if whole is not None and whole not in ids and self._engine.manifest.get(whole) is None:
                yield self._report.note(path, *part_without_session(row["session_id"], whole))

    # Interrupted work

    def _interrupted_migrations(self) -> Iterator[Finding]:
        backups: list[backup_folder.BackupInfo] = []
        with contextlib.suppress(OSError):  # the check of the tree reports it
            backups = backup_folder.listing(self.root)
        for backup in backups:
            if not backup.finished and backup.action != "unknown":
                path = f"{backup_folder.FOLDER.as_posix()}/{backup.name}"
                command = "upgrade" if backup.action == "upgrade" else backup.action.replace(" to ", " --to ")
                advice = f"Continue with: localstore {command} --store {shlex.quote(self.root)}"
                yield self._report.note(path, f"is the backup of an interrupted {backup.action}", advice)

    def _leftovers(self) -> Iterator[Finding]:
        """Yield an error for each temporary file that does not disappear within `_PATIENCE` seconds."""
        deadline = time.monotonic() + _PATIENCE
        problem = "is left over from an interrupted write"
        for path in self.tree.leftovers:
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(self._full(path))
                superseded = temporary_files.is_superseded(os.path.basename(path), status)
                while (superseded or not temporary_files.is_old(status)) and time.monotonic() < deadline:
                    time.sleep(0.01)
                    status = os.lstat(self._full(path))
                if superseded:
                    yield self._report.error(path, SUPERSEDED, "Delete it.", kind="leftover")
                elif temporary_files.is_old(status):
                    advice = f"Move it to {rescue_folder.FOLDER} with: localstore check --repair"
                    yield self._report.error(path, problem, advice, kind="leftover")
                else:
                    yield self._report.error(path, problem, "Check again in a minute; it may still be in use.")


def _made_by(path: str) -> str:
    """Return a remark about the program that made a copy, as far as its name tells."""
    name = copy_name(os.path.basename(path))
    return "" if name is None else f" (a copy made by {name.tool})"


def _is_named_after(path: str, session_id: str) -> bool:
    return _stem(path) == file_names.stem(session_id)


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]
