"""Rows of the manifest: the facts about a document that listing, filtering and writing need."""

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

from localstore.disk.boot import boot_hash, boot_id, is_older_than_boot
from localstore.disk.document_file import fingerprint
from localstore.format.document import ParsedDocument
from localstore.format.recovery import PowerCut, RecordedState
from localstore.index.overview import Overview, is_overview, new_overview, with_header, with_item, with_run
from localstore.models.schema import SCHEMA_VERSION, SESSION_KEYS
from localstore.models.times import CLOCK_TOLERANCE, is_time_text, time_text, utc_time, utc_time_of_ns

PATH = re.compile(r"sessions/(?!\.)[^/\\\0]+/(?!\.)[^/\\\0]+\.(?:json|yaml)\Z")
"""The only accepted form of a path: a file in a folder directly below `sessions/`."""

COARSE_TICK = 2_500_000_000
"""How long, in ns, a file time may stay the same while the file changes, on file systems with times in seconds."""


class IndexRow(TypedDict):
    """The facts that the manifest stores about a session. Keys without a value are absent.

    `fingerprint` is size, mtime_ns, ctime_ns and inode. `offsets` maps each key of `SESSION_KEYS` that has a value to
    the offset of the entry with its newest value. `unfinished_offsets` maps the ids of unfinished runs to their
    offsets; `unfinished` is true if the last entry is such a run. `boot` is set while the last writes have not been
    synced: the id of the boot during which they can be trusted. `boot_hash` is a hash of the boot during which the row
    was made. `other_layout` is true if the document is not in localstore's layout, `rewrite` if a sync failed.
    `coarse_mtime` is true if the file's time is a whole second that was still current, so that another edit might not
    change the time. `overview` is what is counted over the runs; rows of earlier releases lack it, and so do those of
    documents that cannot be read. `problem` says why the document cannot be read; it is never written to the manifest.
    """

    session_id: str
    path: str
    kind: str
    entity_id: NotRequired[str]
    user_id: NotRequired[str]
    name: NotRequired[str]
    tags: NotRequired[list[str]]
    part_of: NotRequired[str]
    created_at: str
    updated_at: str
    version: int
    entries: int
    runs: int
    fingerprint: list[int]
    boot_hash: NotRequired[str]
    offsets: NotRequired[dict[str, int]]
    unfinished: NotRequired[bool]
    unfinished_offsets: NotRequired[dict[str, int]]
    boot: NotRequired[str]
    other_layout: NotRequired[bool]
    rewrite: NotRequired[bool]
    coarse_mtime: NotRequired[bool]
    overview: NotRequired[Overview]
    problem: NotRequired[str]


def _note_status(row: IndexRow, status: os.stat_result) -> None:
    """Update `row` in place with the fingerprint of its file."""
    row["fingerprint"] = fingerprint(status)
    row["boot_hash"] = boot_hash()
    if is_coarse(status.st_mtime_ns) and status.st_mtime_ns > time.time_ns() - COARSE_TICK:
        row["coarse_mtime"] = True
    else:
        row.pop("coarse_mtime", None)


def is_coarse(moment: int) -> bool:
    """Return whether a time in ns is a whole second, and so probably from a file system with times in seconds."""
    return moment % 1_000_000_000 == 0


def _may_hide_an_edit(row: IndexRow) -> bool:
    return abs(time.time_ns() - row["fingerprint"][1]) > COARSE_TICK


def row_of(parsed: ParsedDocument, path: str, status: os.stat_result, boot: str | None) -> IndexRow:
    """Return the row of a document that has been parsed completely.

    `path` is relative to the root of the store. `boot` is the current boot if the bytes may not be durable, else None.
    """
    row = header_row(parsed.header, path, parsed.version)
    _note_status(row, status)
    if boot is not None:
        row["boot"] = boot
    if not parsed.in_layout:
        row["other_layout"] = True
    for index, entry in enumerate(parsed.entries):
        _count_entry(row, entry, parsed.starts[index] if parsed.starts else 0)
    return row


def header_row(header: Mapping[str, Any], path: str, version: int = SCHEMA_VERSION) -> IndexRow:
    """Return the row of a session without entries and without a fingerprint."""
    row: IndexRow = {
        "session_id": header["session_id"],
        "path": path,
        "kind": header["kind"],
        "created_at": utc_time(header["created_at"]),
        "updated_at": utc_time(header["created_at"]),
        "version": version,
        "entries": 0,
        "runs": 0,
        "fingerprint": [],
    }
    entity_id = header.get(f"{header['kind']}_id")
    if entity_id is not None:
        row["entity_id"] = entity_id
    if header.get("user_id") is not None:
        row["user_id"] = header["user_id"]
    if header.get("name") is not None:
        row["name"] = header["name"]
    if header.get("tags"):
        row["tags"] = header["tags"]
    if header.get("part_of"):
        row["part_of"] = header["part_of"]
    row["overview"] = new_overview(header)
    return row


def after_new_head(fresh: IndexRow, before: IndexRow, moved: int) -> IndexRow:
    """Return `fresh`, the row of a document's header, with what `before` says of its history; `fresh` is changed.

    `moved` is the number of bytes by which the history moved.
    """
    fresh["entries"], fresh["runs"] = before["entries"], before["runs"]
    if fresh["entries"]:
        fresh["updated_at"] = before["updated_at"]
    if "unfinished" in before:
        fresh["unfinished"] = before["unfinished"]
    if "offsets" in before:
        fresh["offsets"] = {key: offset + moved for key, offset in before["offsets"].items()}
    if "unfinished_offsets" in before:
        fresh["unfinished_offsets"] = {
            run_id: offset + moved for run_id, offset in before["unfinished_offsets"].items()
        }
    of_header = fresh.pop("overview", None)
    if "overview" in before:
        fresh["overview"] = with_header(before["overview"], of_header or {"usage": {}})
    return fresh


def carry_rewrite_flag(fresh: IndexRow, before: IndexRow | None) -> IndexRow:
    """Return `fresh`, marked for a rewrite if `before` was; `fresh` is changed in place.

    Reading the file again does not undo a failed sync: the next write must still replace the whole document.
    """
    if before is not None and before.get("rewrite"):
        fresh["rewrite"] = True
    return fresh


def _count_entry(row: IndexRow, entry: dict[str, Any], offset: int) -> None:
    """Count an added entry, which starts at `offset`, in `row`, which is changed in place."""
    row["entries"] += 1
    row["runs"] += entry["type"] == "run"
    _note_entry(row, entry, offset, is_new=True)


def _note_entry(row: IndexRow, entry: dict[str, Any], offset: int, *, is_new: bool) -> None:
    """Update `row` in place for its last entry, which starts at `offset`.

    The entry was added, or replaced an unfinished run if `is_new` is false.
    """
    if entry["type"] == "run" and (overview := row.get("overview")) is not None:
        created_at = utc_time(entry["created_at"])
        row["overview"] = with_run(overview, entry, created_at, replaces_unfinished=not is_new)
    elif entry["type"] == "item" and "overview" in row:
        row["overview"] = with_item(row["overview"], entry)
    if isinstance(entry.get("created_at"), str):
        row["updated_at"] = _time_of_activity(row, utc_time(entry["created_at"]))
    changed = {name: offset for name in SESSION_KEYS if entry.get(name) is not None}
    if changed:
        row["offsets"] = {**row.get("offsets", {}), **changed}
    unfinished = row.get("unfinished_offsets", {})
    if entry["type"] == "run" and entry.get("status") == "unfinished":
        row["unfinished"] = True
        row["unfinished_offsets"] = {**unfinished, entry["run_id"]: offset}
    else:
        row.pop("unfinished", None)
        if unfinished and unfinished.get(entry.get("run_id", "")) == offset:
            row["unfinished_offsets"] = {run_id: at for run_id, at in unfinished.items() if at != offset}
            if not row["unfinished_offsets"]:
                del row["unfinished_offsets"]


def _time_of_activity(row: IndexRow, time_of_entry: str) -> str:
    """Return the time of the last entry or, if it was copied by a fork, that of the fork."""
    created_at = row["created_at"]
    is_copied = time_of_entry < created_at and "parent" in row.get("overview", {}) and is_time_text(created_at)
    return created_at if is_copied else time_of_entry


def after_append(row: IndexRow, entry: dict[str, Any], offset: int) -> IndexRow:
    """Return a copy of `row`, updated for an entry that was added at `offset`."""
    fresh = row.copy()
    _count_entry(fresh, entry, offset)
    return fresh


def after_finish(row: IndexRow, entry: dict[str, Any], offset: int) -> IndexRow:
    """Return a copy of `row`, updated for a last entry, at `offset`, that was replaced by `entry`."""
    fresh = row.copy()
    _note_entry(fresh, entry, offset, is_new=False)
    return fresh


def after_write(row: IndexRow, status: os.stat_result, boot: str | None) -> IndexRow:
    """Return a copy of `row` with the file's new fingerprint. `boot` is the current boot, or None if it was synced."""
    fresh = row.copy()
    _note_status(fresh, status)
    if boot is None:
        fresh.pop("boot", None)
    else:
        fresh["boot"] = boot
    return fresh


def latest_plausible_time() -> str:
    """Return the time up to which a document's time counts: now, and a little more, because clocks differ."""
    return time_text(datetime.now(UTC) + CLOCK_TOLERANCE)


def activity(row: IndexRow, latest: str) -> str:
    """Return the time by which a session is sorted. `latest` is `latest_plausible_time()`.

    It is that of the last entry. If this is in the future or no time ("yesterday" is greater than any time), it is that
    of the file, so that such a session does not stay at the top of every listing.
    """
    if row["updated_at"] <= latest:
        return row["updated_at"]
    changed = utc_time_of_ns(row["fingerprint"][1]) if row["fingerprint"] else ""
    return changed if changed <= latest else ""


def begins_with(row: IndexRow, text: str) -> bool:
    """Return whether the id or the name of a session begins with this text."""
    return row["session_id"].startswith(text) or row.get("name", "").startswith(text)


def contains(row: IndexRow, text: str) -> bool:
    """Return whether the id or the name of a session has this text anywhere, in upper or lower case."""
    folded = text.casefold()
    return folded in row["session_id"].casefold() or folded in row.get("name", "").casefold()


def due(row: IndexRow, latest: str) -> str | None:
    """Return the time from which on `activity` of a row may differ, or None if it stays the same.

    It may differ once a time in the row that is in the future now has come.
    """
    if row["updated_at"] <= latest:
        return None
    changed = utc_time_of_ns(row["fingerprint"][1]) if row["fingerprint"] else ""
    return min(row["updated_at"], changed) if changed > latest else row["updated_at"]


def in_order(rows: Iterable[IndexRow], *, newest_first: bool) -> list[IndexRow]:
    """Return the rows sorted by their activity."""
    latest = latest_plausible_time()
    return sorted(rows, key=lambda row: (activity(row, latest), row["session_id"]), reverse=newest_first)


def matches_file(row: IndexRow, status: os.stat_result) -> bool:
    """Return whether the row describes the file in exactly this state. Return False in doubt.

    After a power cut, a file may have the times and the size of a write that was not synced, and not its bytes.
    """
    return (
        row["fingerprint"] == fingerprint(status)
        and row.get("boot") in (None, boot_id())
        and not (row.get("coarse_mtime") and _may_hide_an_edit(row))
    )


def revision_of(fingerprint: Sequence[int]) -> str:
    """Return the revision of a session whose row has this fingerprint: a text that changes with its content."""
    return "-".join(map(str, fingerprint))


def is_trusted(row: IndexRow, status: os.stat_result) -> bool:
    """Return whether the document is exactly as localstore wrote it, so that reading only its end is safe."""
    return (
        matches_file(row, status)
        and row["version"] == SCHEMA_VERSION
        and not row.get("other_layout")
        and not row.get("rewrite")
    )


def is_row(value: Any) -> bool:
    """Return whether the value of a manifest line is a valid row."""
    try:
        numbers = value["fingerprint"]
        return (
            # Written out, because a manifest may have very many lines.
            type(value["session_id"]) is str
            and type(value["path"]) is str
            and type(value["kind"]) is str
            and type(value["created_at"]) is str
            and type(value["updated_at"]) is str
            and utc_time(value["created_at"]) == value["created_at"]  # otherwise it would be sorted incorrectly
            and utc_time(value["updated_at"]) == value["updated_at"]
            and type(value["version"]) is int
            and type(value["entries"]) is int
            and type(value["runs"]) is int
            and type(numbers) is list
            and list(map(type, numbers)) == _FINGERPRINT
            and PATH.match(value["path"]) is not None
            and (len(value) == _LEAST_KEYS or _are_valid(value))
        )
    except (KeyError, TypeError):
        return False


_FINGERPRINT: list[type] = [int, int, int, int]
_LEAST_KEYS = len(IndexRow.__required_keys__)


def _are_valid(row: dict[str, Any]) -> bool:
    """Return whether the optional keys of a row are valid."""
    tags, offsets, unfinished = row.get("tags", ()), row.get("offsets"), row.get("unfinished_offsets")
    return (
        "problem" not in row  # never written to the manifest
        and type(row.get("entity_id", "")) is str
        and type(row.get("user_id", "")) is str
        and type(row.get("name", "")) is str
        and type(row.get("part_of", "")) is str
        and type(row.get("boot", "")) is str
        and type(row.get("boot_hash", "")) is str
        and ("overview" not in row or is_overview(row["overview"]))
        and (not tags or (type(tags) is list and all(type(tag) is str for tag in tags)))
        and (offsets is None or (type(offsets) is dict and all(type(offset) is int for offset in offsets.values())))
        and (
            unfinished is None
            or (type(unfinished) is dict and all(type(offset) is int for offset in unfinished.values()))
        )
    )


def possible_power_cut(row: IndexRow | None, status: os.stat_result) -> PowerCut | None:
    """Return what recovery needs to know if a power cut may have damaged the document. Otherwise, return None.

    It may have if the document was last written before this boot of the machine, and its row was not made in this boot.
    `row` is None if the manifest has none. `status` is that of the file.
    """
    if not is_older_than_boot(status.st_mtime_ns):
        return None
    if row is None or not row["fingerprint"]:
        return PowerCut(None)
    if row.get("boot_hash") == boot_hash():
        return None
    may_lack = row.get("boot", boot_id()) != boot_id()
    size, is_unfinished = row["fingerprint"][0], bool(row.get("unfinished"))
    return PowerCut(RecordedState(row["session_id"], size, row["entries"], is_unfinished, may_lack))
