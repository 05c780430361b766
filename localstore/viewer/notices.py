"""What a page says after a change: the address has only the word for it."""

from __future__ import annotations

from collections.abc import Mapping

from localstore.exporting.html_text import escaped
from localstore.viewer.controls import hidden_csrf
from localstore.viewer.frame import View

_TEXTS = {
    "rated": "The rating is stored.",
    "unrated": "The rating is removed.",
    "renamed": "The session has a new name.",
    "tagged": "The tag is added.",
    "untagged": "The tag is removed.",
    "archived": "Archived.",
    "unarchived": "Taken out of the archive.",
    "state": "The state is stored.",
    "restored": "The session is back.",
}


def notice(view: View, values: Mapping[str, str]) -> str:
    """Return the notice that an address asks for as HTML; "" if it asks for none."""
    done = values.get("done", "")
    if done == "trashed":
        names = [name for name in values.get("items", "").split(",") if name]
        fields = "".join(f'<input type="hidden" name="item" value="{escaped(name)}">' for name in names)
        number = "The session is" if len(names) == 1 else f"{len(names):,} sessions are"
        address = escaped(view.links.page("restore"))
        undo = (
            f'<form method="post" class="inline" action="{address}">{hidden_csrf(view)}{fields}'
            "<button>Undo</button></form>"
            if names and view.may_change
            else ""
        )
        return f'<div class="done">{number} in the trash. {undo}</div>'
    text = _TEXTS.get(done)
    return f'<div class="done">{text}</div>' if text else ""
