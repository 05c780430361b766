"""Finds, prints and restores rescue files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from localstore.errors import LocalstoreError, LockTimeout
from localstore.models.figures import counted

from .errors import Ambiguous, candidates
from .local_times import local_time
from .output import note, one_line, write, write_json
from .pieces import Piece
from .transcript import Transcript

if TYPE_CHECKING:
    from localstore.disk.rescue_folder import Rescued
    from localstore.maintenance.rescue import Content, Restored


def find_rescued(files: list[Rescued], text: str) -> Rescued:
    """Return the rescue file with this name or path, otherwise the only one whose name begins with it.

    Raises Ambiguous if no file matches or several do.
    """
    name = os.path.basename(text)
    matches = [file for file in files if name in (file.name, one_line(file.name))]
    if not matches and name:
        matches = [file for file in files if one_line(file.name).startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        lines = candidates(one_line(file.name) for file in matches)
        raise Ambiguous(f"{len(matches)} names begin with '{text}'. Give more of one of these:", lines)
    raise Ambiguous(f"No file in rescue matches '{text}'. 'localstore rescue' lists the files.", [])


def heading(file: Rescued, person: bool) -> Iterator[Piece]:
    """Yield the fields of a rescue file that have a value. If `person` is true, the time is local."""
    for name, value in file.as_dict().items():
        if value not in (None, ""):
            shown = local_time(value) if person and name == "set_aside_at" else value
            shown = f"{value:,} bytes" if name == "size" else shown
            yield Piece(f"{name:<12}  {shown}")


def entries(content: Content, transcript: Transcript) -> Iterator[Piece]:
    """Yield the entries of a rescue file as `show` prints them, then the rest of the file as text."""
    for entry in content.entries:
        yield Piece("")
        yield from transcript.unchecked_entry(entry)
    if content.rest:
        yield Piece("")
        yield Piece("The whole file" if content.header else "No whole run", style="bold")
        yield Piece(transcript.folded(content.rest.decode(errors="backslashreplace")), indent=2)


def outcome(done: Restored, dry_run: bool) -> str:
    """Return a summary of restoring a rescue file, or of what would be done if `dry_run` is true."""
    parts = []
    if done.added:
        count = counted(done.added, "entry", "entries")
        parts.append(f"{count} {'to put' if dry_run else 'put'} back into {done.session_id}")
    if done.present:
        parts.append(f"{done.present:,} there already")
    if done.removed:
        parts.append("file to remove" if dry_run else "file removed")
    else:
        parts += ["file stays", *done.left]
    return f"{done.name}: {', '.join(parts)}"


def put_back(
    root: str, chosen: list[Rescued], *, create: bool, dry_run: bool, as_json: bool, new_id: str | None = None
) -> None:
    """Restore the files in order, and print the results. `new_id` is that of `localstore.maintenance.rescue.restore`.

    If one of several files cannot be restored, the others still are, and the last error is raised at the end.
    LockTimeout is raised immediately.
    """
    from localstore.maintenance.rescue import restore

    done = []
    failed: list[LocalstoreError] = []
    for file in chosen:
        try:
            result = restore(root, file.name, create=create, dry_run=dry_run, new_id=new_id)
        except FileNotFoundError:
            continue  # another process has just restored it
        except LocalstoreError as error:
            if len(chosen) == 1 or isinstance(error, LockTimeout):
                raise
            failed.append(error)
            continue
        done.append(result)
        if not as_json:
            write(f"{one_line(outcome(result, dry_run))}\n")
    if as_json:
        write_json([result.as_dict() for result in done])
    for other in failed[:-1]:
        note(str(other))
    if failed:
        raise failed[-1]
