"""What an upgrade is going to do. The versions come from the manifest: documents that are current are not opened."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localstore.disk import backup_folder, filesystem, store_tree
from localstore.disk.document_file import DocumentFile
from localstore.disk.locks import pool_of
from localstore.errors import LocalstoreError, StoreNotFound
from localstore.format.document import newer_format
from localstore.format.versions import STEPS, Step
from localstore.index.manifest import Manifest
from localstore.index.session_index import SessionIndex
from localstore.maintenance.upgrade.results import Problem
from localstore.models.schema import SCHEMA_VERSION

ACTION = "upgrade"


@dataclass(frozen=True, slots=True)
class Plan:
    """How many documents stand at which version, and what an upgrade would do.

    `paths` are the documents that would be upgraded, relative to `root`, `size` their bytes. `is_store` is False for a
    folder of agno 1.x. `problems` are documents that would be left alone. `goes_on` says that an upgrade was
    interrupted.
    """

    root: str
    is_store: bool
    versions: dict[int, int]
    paths: list[str]
    size: int
    problems: list[Problem]
    goes_on: bool

    @property
    def steps(self) -> list[tuple[Step, int]]:
        """The steps that would run, and on how many documents each."""
        found = []
        for number, step in enumerate(STEPS):
            count = sum(count for version, count in self.versions.items() if version <= number)
            if count:
                found.append((step, count))
        return found

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return {
            "store": self.root,
            "versions": {str(version): count for version, count in self.versions.items()},
            "steps": [{"version": step.version, "title": step.title, "documents": n} for step, n in self.steps],
            "documents": len(self.paths),
            "size": self.size,
            "problems": [problem.as_dict() for problem in self.problems],
        }


def make_plan(folder: Path | str, *, thorough: bool = False, lock_timeout: float = 10.0) -> Plan:
    """Look at a store, or at a folder of agno 1.x, and change nothing but the manifest.

    New, moved and removed files are seen; documents that were replaced by hand in their place since the last listing
    are when `thorough`, which looks at the status of each.

    Raises StoreNotFound for a folder that is neither, NewerFormat, OSError.
    """
    root = Path(os.path.realpath(folder))
    is_store = store_tree.is_store(root)
    if is_store:
        store_tree.open_store(root, create=False)  # raises what is wrong with it
    found = _Found(str(root))
    if is_store or (root / store_tree.SESSIONS).is_dir():
        found.look_into_store(lock_timeout, thorough=thorough)
    found.look_at_flat_files(is_store=is_store)
    goes_on = backup_folder.is_at_work(str(root), ACTION)
    if not is_store and not goes_on and 0 not in found.versions:
        raise StoreNotFound(
            f"There is no store and no folder of agno 1.x at {folder}. Give the folder that holds {store_tree.MARKER}, "
            "or the one with the session files of agno.",
            path=str(folder),
        )
    versions = dict(sorted((+found.versions).items()))
    return Plan(str(root), is_store, versions, found.paths, found.size, found.problems, goes_on)


def is_folder_of_agno(folder: Path | str) -> bool:
    """Whether a folder is no store, and holds sessions that agno 1.x wrote. Raises OSError."""
    return not store_tree.is_store(Path(folder)) and store_tree.session_of_agno(str(folder)) is not None


@dataclass(slots=True)
class _Found:
    """What was seen so far, in the words of a plan."""

    root: str
    versions: Counter[int] = field(default_factory=Counter)
    paths: list[str] = field(default_factory=list)
    size: int = 0
    problems: list[Problem] = field(default_factory=list)

    def _is_old(self, path: str, version: int, size: int) -> None:
        self.versions[version] += 1
        self.paths.append(path)
        self.size += size

    def look_into_store(self, timeout: float, *, thorough: bool) -> None:
        """What stands in `sessions/`, as the manifest and the names of the files have it."""
        locks = pool_of(Path(self.root))
        catalog = SessionIndex(self.root, Manifest(self.root, locks, timeout))
        rows = catalog.all(thorough=thorough)
        others = [row for row in rows if row["version"] != SCHEMA_VERSION or "problem" in row]
        self.versions[SCHEMA_VERSION] = len(rows) - len(others)
        for row in sorted(others, key=lambda row: row["path"]):
            path = store_tree.full_path(self.root, row["path"])
            if row["version"] > SCHEMA_VERSION:
                self.versions[row["version"]] += 1
                self.problems.append(Problem.of(path, newer_format(row["version"], path)))
            elif "problem" in row:
                try:
                    with locks.session(row["session_id"], timeout):  # a writer may have been at work
                        problems = _problem_of(path)
                except OSError:  # in a store that may only be read, for instance
                    problems = _problem_of(path)
                self.problems += problems
            else:
                self._is_old(row["path"], row["version"], row["fingerprint"][0])
        for path in sorted(catalog.unreadable_files()):
            self.problems += _problem_of(store_tree.full_path(self.root, path))
        for path in catalog.duplicate_files():  # no listing shows them
            try:
                with DocumentFile(store_tree.full_path(self.root, path)) as file:
                    version, size = file.parse().version, file.size
            except (LocalstoreError, OSError):
                self.problems += _problem_of(store_tree.full_path(self.root, path))
                continue
            if version < SCHEMA_VERSION:
                self._is_old(path, version, size)
        for path, problem in sorted(catalog.unreadable_folders.items()):
            self.problems.append(Problem(store_tree.full_path(self.root, path), f"cannot be looked into: {problem}"))
        self.problems.sort(key=lambda problem: problem.path)

    def look_at_flat_files(self, *, is_store: bool) -> None:
        """What stands in the folder itself. In a store, other files than those of agno are nobody's business."""
        for entry in store_tree.flat_files(self.root):
            if entry.is_dir(follow_symlinks=False) or (is_store and entry.name == store_tree.MARKER):
                continue
            try:
                if not entry.is_file(follow_symlinks=False):
                    if not is_store:
                        is_link = entry.is_symlink()
                        what = "a symbolic link, and links are not followed" if is_link else "no regular file"
                        self.problems.append(Problem(entry.path, f"is {what}"))
                elif store_tree.is_of_agno(entry.path):
                    self._is_old(entry.name, 0, filesystem.system.status(entry.path).st_size)
                elif not is_store:
                    self.problems.append(Problem(entry.path, "is no session of agno 1.x, or is cut off"))
            except OSError as error:
                self.problems.append(Problem.of(entry.path, error))


def _problem_of(path: str) -> list[Problem]:
    """What is wrong with a document, with its place; nothing when it was mended or removed meanwhile."""
    try:
        with DocumentFile(path) as file:
            file.parse()
    except FileNotFoundError:
        return []
    except (LocalstoreError, OSError) as error:
        return [Problem.of(path, error)]
    return []
