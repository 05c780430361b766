"""What `update` does to a document."""

from collections.abc import Callable
from typing import Any

from localstore.engine.transaction import Transaction
from localstore.storage.headers import header_with


def updating(
    state: dict[str, Any], header: dict[str, Any], retag: Callable[[list[str]], list[str]] | None
) -> Callable[[Transaction], None]:
    """A change that adds an entry with this state, sets these values of the header, and its tags to what `retag` makes
    of them. It may be tried again when another program interfered."""
    from localstore.models.session import now

    entries = [{"type": "update", "created_at": now(), **state}] if state else []
    again = False

    def change(transaction: Transaction) -> None:
        nonlocal again
        # Interrupted by another program's write, it may have been done already.
        added = [] if again and transaction.whole().entries[-1:] == entries else entries
        again = True
        values = header
        if retag is not None:
            before = (header if "tags" in header else transaction.header()).get("tags") or []
            if (after := retag(before)) != before:
                values = {**header, "tags": after}
        if values:
            transaction.change(header_with(transaction.header(), values), {}, added)
        elif added:
            transaction.append(added)

    return change
