"""Compare the manifest of a store with its documents."""

import os
import stat
from collections.abc import Iterator, Mapping

import orjson

from localstore.disk import filesystem, store_tree
from localstore.disk.document_file import fingerprint
from localstore.index.manifest import Manifest
from localstore.index.row import IndexRow, is_row
from localstore.maintenance.finding import Finding, Reporter

_NAME = store_tree.MANIFEST
_SELF_HEALING = "Nothing to do; the next listing corrects it."
_POSITIONS = ("offsets", "unfinished")
_DERIVED = ("other_layout", "boot", "boot_hash", "rewrite", "fingerprint", "coarse_mtime", "problem", *_POSITIONS)
"""Keys in which a row may differ from its document. Positions may differ only if the file changed since the row."""


class ManifestCheck:
    """Compares the manifest with `rows`, the correct row of each readable document by path.

    Once `findings` has ended, `stale` lists the documents whose row is wrong, as pairs of path and session id.
    """

    def __init__(self, root: str, manifest: Manifest, rows: Mapping[str, IndexRow]) -> None:
        self._root = root
        self._report = Reporter(root)
        self._manifest = manifest
        self._rows = rows
        self.stale: list[tuple[str, str]] = []

    def findings(self) -> Iterator[Finding]:
        """Read the manifest and yield an error or note for each difference and each invalid line."""
        error, note = self._report.error, self._report.note
        full_path = store_tree.full_path(self._root, _NAME)
        try:
            if not stat.S_ISREG(os.lstat(full_path).st_mode):  # reading a named pipe would block
                yield error(_NAME, "is not a regular file and is not used", "Move it away; a new one is created.")
                return
            lines = filesystem.read_file(str(full_path)).split(b"\n")
            self._manifest.refresh(thorough=True)
        except FileNotFoundError:
            if self._rows:
                yield note(_NAME, "is missing", "Nothing to do; the next listing creates it.", kind="manifest")
            return
        except OSError as failure:
            yield error(_NAME, f"cannot be read: {failure.strerror}", "Delete it; a new one is created.")
            return
        for number, line in enumerate(lines, 1):
            if not _is_usable(line) and (line or number < len(lines)):
                yield note(_NAME, "is not a valid manifest line and is skipped", _SELF_HEALING, number, "manifest")
        listed = {row["path"]: row for row in self._manifest.all()}
        ids = {row["session_id"] for row in listed.values()}
        for path in sorted(listed):
            if path not in self._rows and self._is_gone(path):
                yield note(path, "is gone, but the manifest still names it", _SELF_HEALING, kind="manifest")
        for path, row in self._rows.items():
            if path in listed:
                yield from self._compare(path, row, listed[path])
            elif row["session_id"] not in ids:  # another finding reports duplicates
                yield note(path, "is not in the manifest yet", _SELF_HEALING, kind="manifest")

    def _compare(self, path: str, row: IndexRow, listed: IndexRow) -> Iterator[Finding]:
        """Yield a finding if `listed`, the row of the manifest, differs from `row`, the correct row of the document.

        A document that changed or was deleted since it was checked is skipped.
        """
        is_same_file = listed["fingerprint"] == row["fingerprint"]
        compares_positions = is_same_file and not listed.get("other_layout")
        ignored = [key for key in _DERIVED if not (compares_positions and key in _POSITIONS)]
        if not is_same_file or "overview" not in listed:
            ignored.append("overview")  # it is counted again before it is used
        keys = [key for key in {**row, **listed} if key not in ignored and row.get(key) != listed.get(key)]
        try:
            current = fingerprint(os.lstat(store_tree.full_path(self._root, path)))
        except OSError:
            return
        if not keys or current != row["fingerprint"]:  # correct, or changed while it was read
            return
        self.stale.append((path, row["session_id"]))
        problem = f"and the manifest disagree on {', '.join(sorted(keys))}"
        if is_same_file:
            advice = f"Delete {_NAME}; the next listing creates it."
            yield self._report.error(path, problem, advice, kind="manifest")
        else:
            yield self._report.note(path, problem, _SELF_HEALING, kind="manifest")

    def _is_gone(self, path: str) -> bool:
        try:
            os.lstat(store_tree.full_path(self._root, path))
        except FileNotFoundError:
            return True
        except OSError:
            pass
        return False


def _is_usable(line: bytes) -> bool:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    if is_row(value):
        return True
    return isinstance(value, dict) and ("generation" in value or "folder" in value or value.get("deleted") is True)
