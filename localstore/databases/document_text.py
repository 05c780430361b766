"""The document of a session in a database, as the text that a person edits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localstore.databases.backend import TRASH, Stored, text_of
from localstore.engine.document_merge import merge_documents
from localstore.format.document import ParsedDocument, convert_layout, parse_document, parse_strictly
from localstore.format.json_layout import LAYOUT
from localstore.format.values import json_equal
from localstore.storage.edited_document import (
    CHANGED,
    REMOVED,
    Key,
    Replaced,
    changes_between,
    checked,
    document_name,
    entry_keys,
    lost_in,
    removed_keys,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from localstore.databases.session_change import SessionChange


def document_of(stored: Stored) -> bytes:
    """Return the document that the session would have in a folder."""
    return LAYOUT.document(stored.header, stored.entries)


@dataclass(slots=True)
class DocumentEdit:
    """The change of a session to the text that a person made of its document `base`."""

    session_id: str
    base: ParsedDocument
    mine: ParsedDocument
    result: Replaced = field(default_factory=Replaced)

    @classmethod
    def of(cls, session_id: str, text: bytes, base: bytes) -> DocumentEdit:
        """Check both texts. Raises DocumentBroken, also for what a database would round, OlderFormat, NewerFormat."""
        name = document_name(session_id)
        checked(text, name, session_id)
        mine = convert_layout(parse_strictly(text, LAYOUT, name), LAYOUT, name)
        return cls(session_id, parse_document(base, LAYOUT, name), mine)

    def apply(self, change: SessionChange) -> Replaced:
        """Write the changes from `base` to `mine`. Another attempt recognises what an earlier one wrote."""
        stored = change.entries()
        theirs = parse_document(
            LAYOUT.document(change.header(), [one.entry for one in stored]), LAYOUT, document_name(self.session_id)
        )
        if theirs.raw == self.base.raw:
            merged, keys = self.mine, dict[str, Key | None]()
        else:
            both = merge_documents(self.mine, theirs, self.base, document_name(self.session_id), prefer="theirs")
            merged, keys = parse_document(both.raw, LAYOUT, document_name(self.session_id)), lost_in(both)
        is_same = json_equal(merged.header, theirs.header) and merged.slices() == theirs.slices()
        if is_same and (not keys or self._is_kept(change)):
            return self.result
        rescued = self._keep_lost(change, keys.values())
        removed = None if is_same else self._keep_removed(change, keys.values())
        elsewhere = () if theirs.raw == self.base.raw else changes_between(self.base, theirs)
        self.result = Replaced(changes_between(self.base, self.mine), elsewhere, tuple(keys), rescued, removed)
        if not is_same:
            texts = [text_of(entry) for entry in merged.entries]
            unchanged = {number for number, one in enumerate(stored) if texts[number : number + 1] == [one.text]}
            change.rewrite(
                merged.header,
                [stored[number].entry if number in unchanged else one for number, one in enumerate(merged.entries)],
            )
        return self.result

    def _is_kept(self, change: SessionChange) -> bool:
        """Return whether an earlier attempt was committed, and so has kept what the session has in another form."""
        return bool(self.result.rescued) and {*self.result.rescued} <= {one.name for one in change.asides()}

    def _keep_lost(self, change: SessionChange, keys: Collection[Key | None]) -> tuple[str, ...]:
        """Keep the person's form of what others changed too, and return its names."""
        entries = dict(zip(entry_keys(self.mine.entries), self.mine.entries, strict=True))
        names = [
            change.set_aside(CHANGED, [text_of(entries[key])], entries[key]["run_id"])
            for key in keys
            if key is not None and key in entries and key[0] == "run"
        ]
        if any(key is None or (key in entries and key[0] != "run") for key in keys):
            names.append(change.set_aside(TRASH, map(text_of, [self.mine.header, *self.mine.entries])))
        return tuple(names)

    def _keep_removed(self, change: SessionChange, stays: Collection[Key | None]) -> str | None:
        """Keep what the person removed: a single run, or else the whole session as it was. Return its name."""
        gone = removed_keys(self.base, self.mine, stays)
        entries = [
            entry for key, entry in zip(entry_keys(self.base.entries), self.base.entries, strict=True) if key in gone
        ]
        if not entries:
            return None
        if len(entries) == 1 and entries[0]["type"] == "run":
            return change.set_aside(REMOVED, [text_of(entries[0])], entries[0]["run_id"])
        return change.set_aside(TRASH, map(text_of, [self.base.header, *self.base.entries]))
