"""Check the files of a store without opening them: their places, their names and their permissions."""

import os
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from localstore.disk import backup_folder, ignored_files, rescue_folder, store_tree, temporary_files, trash_folder
from localstore.disk.document_file import IRREGULAR
from localstore.disk.filesystem import FILE_MODE, FOLDER_MODE, is_private
from localstore.format.document import LAYOUTS
from localstore.maintenance.finding import Finding, Reporter

MOST_MODES = 3
"""The number of files and folders with wrong permissions to report one by one; in a copied store, all may be wrong."""
_MONTH = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])\Z")
_MODE_UNCHANGED = (f"{backup_folder.FOLDER.as_posix()}/", f"{trash_folder.FOLDER}/")
"""Documents in these folders keep their mode; the folder itself is private."""


class TreeCheck:
    """Walks through the folders of a store. Paths are relative to the root, with slashes.

    Once `findings` has ended, `documents` lists the files to parse, and `leftovers` the temporary files. `modes` pairs
    each path with wrong permissions with the correct mode. `unreadable_folders` maps each folder that could not be
    listed to the reason.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._report = Reporter(root)
        self.documents: list[str] = []
        self.leftovers: list[str] = []
        self.modes: list[tuple[str, int]] = []
        self.unreadable_folders: dict[str, str] = {}
        self._has_wrong_mode = False
        """Whether one of the modes that are not reported one by one is an error."""

    def findings(self) -> Iterator[Finding]:
        """Walk through the store and yield an error or note for each problem.

        A note is also yielded for each rescue file. A folder that cannot be listed is reported as an error.
        Raises OSError if the root cannot be searched.
        """
        for _ in self._files(""):  # for the temporary files
            pass
        for path, reason in ignored_files.above_month_folders(self._root).items():
            if "/" not in path:  # the others are found below
                yield self._report.error(path, *reason)
        for folder in (store_tree.SESSIONS, ".localstore", "schemas"):
            for path, status in self._walk(folder):
                if folder != "schemas" and not ignored_files.is_unfinished(path):
                    yield from self._permissions(path, status)
                if path.startswith(f"{store_tree.SESSIONS}/"):
                    yield from self._placement(path, status)
                elif Path(path).parent == rescue_folder.FOLDER:
                    name = shlex.quote(os.path.basename(path))
                    yield self._report.note(path, "was set aside", f"See it with: localstore rescue {name}")
        if len(self.modes) > MOST_MODES:
            more = len(self.modes) - MOST_MODES
            problem = f"has {more:,} more files and folders with such modes"
            if more == 1:
                problem = "has 1 more file or folder with such a mode"
            advice = f"Set them all with: chmod -R u+rwX,go= {shlex.quote(self._root)}"
            report = self._report.error if self._has_wrong_mode else self._report.note
            yield report("", problem, advice, kind="mode")
        for path, problem in self.unreadable_folders.items():
            yield self._report.error(path, f"cannot be listed: {problem}", "Check its permissions and the disk.")

    def _walk(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        """Yield a folder and everything below it with their status, sorted by name. Links are not followed."""
        try:
            yield folder, os.lstat(store_tree.full_path(self._root, folder))
        except FileNotFoundError:
            return
        yield from self._files(folder, recurse=True)

    def _files(self, folder: str, *, recurse: bool = False) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the files in a folder with their status, sorted by name; with `recurse`, folders and their files too.

        Temporary files are not yielded but added to `leftovers`. A folder that cannot be listed is added to
        `unreadable_folders`.
        """
        try:
            with os.scandir(store_tree.full_path(self._root, folder)) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.unreadable_folders[folder] = error.strerror or str(error)
            return
        for entry in entries:
            path = f"{folder}/{entry.name}".removeprefix("/")
            if temporary_files.final_name(entry.name) and entry.is_file(follow_symlinks=False):
                self.leftovers.append(path)
            elif entry.is_dir(follow_symlinks=False):
                # Hidden folders among the months belong to other programs.
                if recurse and not (folder == store_tree.SESSIONS and entry.name.startswith(".")):
                    yield from self._walk(path)
            else:
                try:
                    yield path, os.lstat(entry.path)
                except FileNotFoundError:
                    continue

    def _permissions(self, path: str, status: os.stat_result) -> Iterator[Finding]:
        """Yield an error if the permissions of a file or folder are wrong, and add it to `modes`.

        For those of a checkout by git, a note is yielded: git does not keep permissions. Only the first `MOST_MODES`
        are yielded.
        """
        is_file, is_folder = stat.S_ISREG(status.st_mode), stat.S_ISDIR(status.st_mode)
        if os.name != "posix" or not (is_file or is_folder) or (is_file and path.startswith(_MODE_UNCHANGED)):
            return
        right = FOLDER_MODE if is_folder else FILE_MODE
        mode = stat.S_IMODE(status.st_mode)
        if is_private(mode) and mode & right == right:
            return
        self.modes.append((path, right))
        is_checked_out = path.startswith(store_tree.SESSIONS) and mode == (0o755 if is_folder else 0o644)
        if len(self.modes) > MOST_MODES:
            self._has_wrong_mode |= not is_checked_out
        else:
            report = self._report.note if is_checked_out else self._report.error
            effect = "keeps you from using it" if is_private(mode) else "gives others access"
            advice = f"Set it with: chmod {right:o} {shlex.quote(store_tree.full_path(self._root, path))}"
            yield report(path, f"has mode {mode:04o}, which {effect}", advice, kind="mode")

    def _placement(self, path: str, status: os.stat_result) -> Iterator[Finding]:
        """Add a file below `sessions/` to `documents`, or yield a finding if it will not be read as a document."""
        error, note = self._report.error, self._report.note
        folder, _, name = path.rpartition("/")
        is_in_month = folder.count("/") == 1
        if stat.S_ISLNK(status.st_mode):
            yield error(path, *ignored_files.LINK)
        elif stat.S_ISDIR(status.st_mode):
            if folder == store_tree.SESSIONS and not _MONTH.match(name):
                yield note(path, "is not named like a month (2026-11)", "Move its documents to month folders.")
            elif is_in_month and name.endswith(tuple(LAYOUTS)) and not name.startswith("."):
                yield error(path, IRREGULAR, "Move it out of the store.")
        elif (reason := ignored_files.reason_for(path)) is not None:
            report = note if ignored_files.is_unfinished(path) else error
            yield report(path, *reason)
        elif not ignored_files.looks_like_document(name):
            return
        elif not stat.S_ISREG(status.st_mode):
            yield error(path, IRREGULAR, "Move it out of the store.")
        else:
            self.documents.append(path)
