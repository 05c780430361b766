"""Plan an upgrade. The versions come from the manifest, so that current documents need not be opened."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localstore.disk import backup_folder, filesystem, store_tree
from localstore.disk.agno_files import find_agno_session, flat_files, is_agno_session
from localstore.disk.document_file import DocumentFile
from localstore.disk.store_identity import MARKER
from localstore.engine.engine import Engine
from localstore.errors import LocalstoreError, StoreNotFound
from localstore.format.document import newer_format_error
from localstore.format.versions import STEPS, Step
from localstore.maintenance.upgrade.results import Problem
from localstore.models.schema import SCHEMA_VERSION

ACTION = "upgrade"


@dataclass(frozen=True, slots=True)
class Plan:
    """The versions of the documents in a store or folder, and the work of an upgrade.

    `versions` maps each schema version to the number of its documents. `paths` lists the documents to upgrade, relative
    to `root`, and `size` is their total size in bytes. `is_store` is False for a folder of agno 1.x. `problems` lists
    the documents that an upgrade leaves as they are. `was_interrupted` is True if an upgrade is running or was
    interrupted.
    """

    root: str
    is_store: bool
    versions: dict[int, int]
    paths: list[str]
    size: int
    problems: list[Problem]
    was_interrupted: bool

    @property
    def steps(self) -> list[tuple[Step, int]]:
        """The upgrade steps to run, each with the number of documents that it applies to."""
        steps = []
        for number, step in enumerate(STEPS):
            count = sum(count for version, count in self.versions.items() if version <= number)
            if count:
                steps.append((step, count))
        return steps

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        return {
            "store": self.root,
            "versions": {str(version): count for version, count in self.versions.items()},
            "steps": [{"version": step.version, "title": step.title, "documents": n} for step, n in self.steps],
            "documents": len(self.paths),
            "size": self.size,
            "problems": [problem.as_dict() for problem in self.problems],
        }


def make_plan(folder: Path | str, *, thorough: bool = False, lock_timeout: float = 10.0) -> Plan:
    """Return the plan to upgrade a store, or a folder of agno 1.x.

    The manifest of a store is updated; nothing else is changed. The plan takes into account new, moved and removed
    files. If `thorough`, the status of every document is read, so that documents that were replaced in place since the
    last listing count too. `lock_timeout` is in seconds.

    >>> from localstore import JsonStorage
    >>> make_plan(JsonStorage("my-sessions").root).paths
    []

    Raises StoreNotFound if the folder is neither, NewerFormat if a newer localstore wrote the store, and OSError.
    """
    root = Path(os.path.realpath(folder))
    is_store = store_tree.is_store(root)
    if is_store:
        store_tree.open_store(root, create=False)  # raises if something is wrong with it
    survey = _Survey(str(root))
    if is_store or (root / store_tree.SESSIONS).is_dir():
        survey.add_store(lock_timeout, thorough=thorough)
    survey.add_flat_files(is_store=is_store)
    was_interrupted = backup_folder.is_at_work(str(root), ACTION)
    if not is_store and not was_interrupted and 0 not in survey.versions:
        if os.path.lexists(root / MARKER):
            store_tree.open_store(root, create=False)  # raises, and says what is wrong with the marker
        raise StoreNotFound(
            f"There is no store and no folder of agno 1.x at {folder}. Give the folder that holds {MARKER}, "
            "or the one with the session files of agno.",
            path=str(folder),
        )
    if not is_store:
        store_tree.refuse_to_replace_marker(root)
    versions = dict(sorted((+survey.versions).items()))
    return Plan(str(root), is_store, versions, survey.paths, survey.size, survey.problems, was_interrupted)


def is_folder_of_agno(folder: Path | str) -> bool:
    """Return whether a folder is not a store and has sessions of agno 1.x. Raises OSError if it cannot be read."""
    return not store_tree.is_store(Path(folder)) and find_agno_session(str(folder)) is not None


@dataclass(slots=True)
class _Survey:
    """Counts the documents of a store or folder for a plan. The fields are those of `Plan`."""

    root: str
    versions: Counter[int] = field(default_factory=Counter)
    paths: list[str] = field(default_factory=list)
    size: int = 0
    problems: list[Problem] = field(default_factory=list)

    def _add_old(self, path: str, version: int, size: int) -> None:
        self.versions[version] += 1
        self.paths.append(path)
        self.size += size

    def add_store(self, timeout: float, *, thorough: bool) -> None:
        """Add the documents in `sessions/`, from the rows of the manifest.

        A document is opened only if it has a problem or the id of another one.
        """
        engine = Engine(Path(self.root), durable=True, timeout=timeout)
        index = engine.index
        rows = index.all(thorough=thorough)
        others = [row for row in rows if row["version"] != SCHEMA_VERSION or "problem" in row]
        self.versions[SCHEMA_VERSION] = len(rows) - len(others)
        for row in sorted(others, key=lambda row: row["path"]):
            path = store_tree.full_path(self.root, row["path"])
            if row["version"] > SCHEMA_VERSION:
                self.versions[row["version"]] += 1
                self.problems.append(Problem.of(path, newer_format_error(row["version"], path)))
            elif "problem" in row:
                try:
                    with engine.locks.session(row["session_id"], timeout):  # a writer may be at work
                        problems = _problem_of(path)
                except OSError:  # for instance in a read-only store
                    problems = _problem_of(path)
                self.problems += problems
            else:
                self._add_old(row["path"], row["version"], row["fingerprint"][0])
        unreadable = index.unreadable_files()
        for path in sorted(unreadable):
            self.problems += _problem_of(store_tree.full_path(self.root, path))
        for path in index.duplicate_files().keys() - unreadable.keys():  # a listing leaves them out
            try:
                with DocumentFile(store_tree.full_path(self.root, path)) as file:
                    version, size = file.parse().version, file.size
            except (LocalstoreError, OSError):
                self.problems += _problem_of(store_tree.full_path(self.root, path))
                continue
            if version < SCHEMA_VERSION:
                self._add_old(path, version, size)
        for path, problem in sorted(index.unreadable_folders.items()):
            self.problems.append(Problem(store_tree.full_path(self.root, path), f"cannot be listed: {problem}"))
        self.problems.sort(key=lambda problem: problem.path)

    def add_flat_files(self, *, is_store: bool) -> None:
        """Add the files directly in the folder. In a store, files that are not sessions of agno are ignored."""
        for entry in flat_files(self.root):
            if entry.is_dir(follow_symlinks=False) or (is_store and entry.name == MARKER):
                continue
            try:
                if not entry.is_file(follow_symlinks=False):
                    if not is_store:
                        is_link = entry.is_symlink()
                        kind = "a symbolic link, and links are not followed" if is_link else "not a regular file"
                        self.problems.append(Problem(entry.path, f"is {kind}"))
                elif is_agno_session(entry.path):
                    self._add_old(entry.name, 0, filesystem.system.status(entry.path).st_size)
                elif not is_store:
                    self.problems.append(Problem(entry.path, "is not a session of agno 1.x, or is cut off"))
            except OSError as error:
                self.problems.append(Problem.of(entry.path, error))


def _problem_of(path: str) -> list[Problem]:
    """Return a list with the problem of a document, or an empty list if it was repaired or deleted in the meantime."""
    try:
        with DocumentFile(path) as file:
            file.parse()
    except FileNotFoundError:
        return []
    except (LocalstoreError, OSError) as error:
        return [Problem.of(path, error)]
    return []
