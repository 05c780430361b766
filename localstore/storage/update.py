"""Change the state or the header of a session outside a run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

from localstore.engine.transaction import Transaction
from localstore.format.document import order_header
from localstore.format.values import to_json_value
from localstore.models.schema import SCHEMA_VERSION
from localstore.storage.arguments import UNSET, check_update


def new_header(
    session_id: str,
    kind: str,
    entity_id: str | None,
    user_id: str | None,
    created_at: str,
    part_of: str | None = None,
) -> dict[str, Any]:
    """Return the header for a new session, without the fields that are None.

    Raises UnstorableValue if a value cannot be stored.
    """
    header = {
        "schema_version": SCHEMA_VERSION,
        "session_id": session_id,
        "kind": kind,
        f"{kind}_id": entity_id,
        "user_id": user_id,
        "part_of": part_of,
        "created_at": created_at,
    }
    kept: dict[str, Any] = to_json_value({key: value for key, value in header.items() if value is not None})
    return kept


def header_with(header: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of `header` with `values` set, its keys in the order of the format.

    A key whose new value is None or empty is removed.
    """
    merged = {**header, **values}
    return order_header({key: value for key, value in merged.items() if key not in values or value})


@dataclass(frozen=True, slots=True)
class SessionChange:
    """The changes that `Storage.update` makes to a session.

    `entries` holds the update entry with the new state, or nothing. `header` maps fields of the header to new values;
    None removes a field. `added_tags` and `removed_tags` are applied to the tags in the document.
    """

    entries: list[dict[str, Any]]
    header: dict[str, Any]
    added_tags: list[str]
    removed_tags: list[str]

    @classmethod
    def of(
        cls, state: dict[str, Any], header: dict[str, Any], add_tags: Iterable[str], remove_tags: Iterable[str]
    ) -> Self:
        """Return the change that the arguments of a call mean, in which None and UNSET stand for no change.

        Raises TypeError if one has a wrong type, and UnstorableValue if a value cannot be stored.
        """
        from localstore.models.times import now

        state = to_json_value({key: value for key, value in state.items() if value is not None})
        header = to_json_value({key: value for key, value in header.items() if value is not UNSET})
        check_update(state, header)
        entries = [{"type": "update", "created_at": now(), **state}] if state else []
        return cls(entries, header, _texts("add_tags", add_tags), _texts("remove_tags", remove_tags))

    def apply(self, document: Transaction, *, may_be_there: bool) -> None:
        """Write the change to the document.

        If `may_be_there`, an interrupted earlier attempt may have added the entry; it is then not added again.
        """
        is_there = may_be_there and document.whole().entries[-1:] == self.entries
        entries = [] if is_there else self.entries
        header = self.new_header(document.header) if self.changes_header else None
        if header is not None:
            document.change(header, {}, entries)
        elif entries:
            document.append(entries)

    @property
    def changes_header(self) -> bool:
        """Whether the header may change."""
        return bool(self.header or self.added_tags or self.removed_tags)

    def new_header(self, stored: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """Return the new header of a session, or None if it stays. `stored` returns the header in the store."""
        values = self.header
        if self.added_tags or self.removed_tags:
            before = (values if "tags" in values else stored()).get("tags") or []
            if (tags := self._changed(before)) != before:
                values = {**values, "tags": tags}
        return header_with(stored(), values) if values else None

    def _changed(self, tags: list[str]) -> list[str]:
        """Return `tags` in their order with the added tags at the end, without the removed ones."""
        new = [tag for tag in dict.fromkeys(self.added_tags) if tag not in tags]
        return [tag for tag in [*tags, *new] if tag not in self.removed_tags]


def _texts(name: str, tags: Iterable[str]) -> list[str]:
    values: Any = [tags] if isinstance(tags, str) else list(tags)
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in values):
        raise TypeError(f"{name} must be a list of texts")
    texts: list[str] = to_json_value(values, name)
    return texts
