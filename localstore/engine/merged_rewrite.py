"""Write a merged session to its document."""

from localstore.disk import rescue_folder
from localstore.engine.merge import Entry, Merged, Version, keyed
from localstore.engine.plan import Rewrite
from localstore.engine.transaction import Transaction
from localstore.errors import DocumentBroken
from localstore.format.document import ParsedDocument
from localstore.format.values import json_equal


def write_merged(root: str, document: Transaction, merged: Merged, reason: str) -> None:
    """Write the result of a merge to the document that was "ours" in it. What is unchanged keeps its exact bytes.

    What the document loses is first kept in the rescue folder: entries one by one, or the whole document if something
    in the header or the state is lost. `reason` is the reason that these files give.

    Raises DocumentBroken if a rewrite would drop or round a value, LayoutMismatch, ConcurrentChange and OSError.
    """
    parsed = document.whole()
    rewrite = rewrite_of(parsed, merged)
    if rewrite is None:
        document.sync()
        return
    if not rewrite.replaced and not rewrite.inserted and rewrite.header is None:
        document.append(rewrite.added)
        return
    document.check_replaceable(rewrite.replaced)
    row = document.row
    for content in _lost(parsed, merged):
        rescue_folder.set_aside(root, row["path"], row["session_id"], reason, content)
    document.execute(rewrite)


def refuse_invalid(before: Version, merged: Merged, name: str) -> None:
    """Raise DocumentBroken if what a merge adds to a version has a value of a wrong type: nobody could read it then.

    `name` is the file or the store that it comes from, for the error.
    """
    from pydantic import ValidationError

    from localstore.models.session import Session, entry_adapter
    from localstore.models.validation import first_problem

    known = set(map(id, before.entries))
    where = ""
    try:
        if not json_equal(merged.header, before.header):
            Session.model_validate({**merged.header, "history": []})
        for entry in merged.entries:
            if id(entry) not in known:
                where = f"history[{entry.get('run_id') or entry['type']}]"
                entry_adapter().validate_python(entry)
    except ValidationError as error:
        problem = first_problem(error, where)
        raise DocumentBroken(
            f"{name}: {problem}. Nothing was merged. Fix it in an editor.",
            problem=problem,
            session_id=merged.header["session_id"],
        ) from None


def rewrite_of(parsed: ParsedDocument, merged: Merged) -> Rewrite | None:
    """Return the changes to a document that was "ours" in a merge, so that it has the result; None if it has it."""
    header = None if json_equal(merged.header, parsed.header) else merged.header
    positions = {key: number for number, key in enumerate(keyed(parsed.entries))}
    replaced: dict[int, Entry | None] = dict.fromkeys(parsed.starts)
    inserted: dict[int, list[Entry]] = {}
    added: list[Entry] = []
    last = -1
    for key, entry in keyed(merged.entries).items():
        number = positions.get(key)
        if number is None:
            added.append(entry)
            continue
        if number < last:  # the order of the entries changed
            return Rewrite(dict.fromkeys(parsed.starts), merged.entries, header)
        last, start = number, parsed.starts[number]
        if added:
            inserted[start], added = added, []
        if entry is parsed.entries[number]:
            del replaced[start]
        else:
            replaced[start] = entry
    if header is None and not replaced and not inserted and not added:
        return None
    return Rewrite(replaced, added, header, inserted)


def lost_entries(ours: Version, merged: Merged) -> list[Entry]:
    """Return the entries of "ours" that the merged session lacks, or has in the form of "theirs"."""
    replaced = [one.ours for one in merged.differences if one.taken == "theirs" and one.run_id is not None]
    return [*merged.taken_out(ours), *(entry for entry in replaced if entry is not None)]


def loses_more(merged: Merged) -> bool:
    """Return whether the merged session lacks something of "ours" besides entries: in the header or the state."""
    return any(one.taken == "theirs" and one.run_id is None and one.ours is not None for one in merged.differences)


def _lost(parsed: ParsedDocument, merged: Merged) -> list[dict[str, object]]:
    """Return what the document would lose, as the contents of rescue files."""
    contents: list[dict[str, object]] = [
        {"entry": entry} for entry in lost_entries(Version(parsed.header, parsed.entries), merged)
    ]
    if loses_more(merged):
        contents.append(rescue_folder.piece(0, parsed.raw))
    return contents
