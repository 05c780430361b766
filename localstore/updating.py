"""What `update` does to a document."""

from collections.abc import Callable
from typing import Any

from localstore.files.draft import Draft
from localstore.headers import header_with


def updating(
    state: dict[str, Any], header: dict[str, Any], retag: Callable[[list[str]], list[str]] | None
) -> Callable[[Draft], None]:
    """A change that adds an entry with this state, sets these values of the header, and its tags to what `retag` makes
    of them. It may be tried again when another program interfered."""
    from localstore.sessions import now

    entries = [{"type": "update", "created_at": now(), **state}] if state else []
    again = False

    def change(draft: Draft) -> None:
        nonlocal again
        # Interrupted by another program's write, it may have been done already.
        added = [] if again and draft.whole().entries[-1:] == entries else entries
        again = True
        values = header
        if retag is not None:
            before = (header if "tags" in header else draft.header()).get("tags") or []
            if (after := retag(before)) != before:
                values = {**header, "tags": after}
        if values:
            draft.change(header_with(draft.header(), values), {}, added)
        elif added:
            draft.append(added)

    return change
