"""Check what copies and sync tools do: copied stores, machine-local files that travel, sessions that return."""

import contextlib
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from localstore.disk import ignore_files, store_place, store_tree, trash_folder
from localstore.disk.document_file import DocumentFile
from localstore.errors import LocalstoreError
from localstore.index.row import IndexRow
from localstore.maintenance.finding import Finding, Reporter


def of_store(root: str) -> Iterator[Finding]:
    """Yield a note if the folder of the store is a copy of another one, and one if `.localstore/` travels."""
    report = Reporter(root)
    origin = store_place.origin_of(root)
    if origin is not None:
        verb, advice = "was copied or moved here from the store", ""
        if origin.is_there:
            verb, advice = "is a copy of the store", f"To unite them: localstore merge {shlex.quote(origin.path)}. "
        advice += "To keep it as a store of its own: localstore check --repair"
        yield report.note("", f"{verb} at {origin.path}", advice, kind="copy")
    with contextlib.suppress(OSError):
        rules = ignore_files.lacking_rule(root)
        if rules is not None:
            problem = "belongs to this machine, but Syncthing sends it to others"
            yield report.note(".localstore", problem, f"Add the line .localstore to {rules} on each of them.")


def returned_sessions(root: str, rows: Mapping[str, IndexRow]) -> Iterator[Finding]:
    """Yield a note for each session that is in the trash, and in the store again: another machine had continued it.

    `rows` are those of the documents, by path.
    """
    paths = {row["session_id"]: path for path, row in rows.items()}
    with contextlib.suppress(LocalstoreError, OSError):  # the check of the tree reports it
        for item in trash_folder.listing(root):
            path = None if item.session_id is None else paths.pop(item.session_id, None)
            if path != item.document or _began_at(item.path) != _began_at(store_tree.full_path(root, path)):
                continue
            problem = f"was moved to the trash at {item.trashed_at}, and is here again"
            session = shlex.quote(rows[path]["session_id"])
            advice = f"Another machine may have added to it. To remove it again: localstore rm {session}"
            yield Reporter(root).note(path, problem, advice)


def _began_at(path: str) -> Any:
    """Return when the session of a document was created. A new session of the same id was created later."""
    with contextlib.suppress(LocalstoreError, OSError), DocumentFile(path) as file:
        return file.parse().header["created_at"]
    return None
