"""The forms that change sessions. Each is a plain form, which works without JavaScript."""

from __future__ import annotations

from html import escape

from localstore.exporting.characters import json_text
from localstore.exporting.html_text import escaped
from localstore.models.filter import ARCHIVED
from localstore.models.session import Run, Session
from localstore.viewer.frame import View


def hidden_csrf(view: View) -> str:
    """Return the hidden field that proves that a form came from our own page."""
    return f'<input type="hidden" name="csrf" value="{escaped(view.csrf)}">'


def _form(view: View, action: str, session_id: str, fields: str, *, kind: str = "") -> str:
    return (
        f'<form method="post" action="{escaped(view.links.page(action))}"{f" class={kind}" if kind else ""}>'
        f'{hidden_csrf(view)}<input type="hidden" name="id" value="{escape(session_id)}">{fields}</form>'
    )


def rate_form(view: View, session_id: str, run: Run, anchor: str) -> str:
    """Return the form that rates a run, folded until it is needed."""
    if not view.may_change or run.status == "unfinished":
        return ""
    buttons = "".join(
        f'<button name="rating" value="{value}"{" aria-pressed=true" if run.rating == value else ""}>{label}</button>'
        for value, label in (("good", "▲ Good"), ("bad", "▼ Bad"))
    )
    remove = '<button name="rating" value="">Remove the rating</button>' if run.rating else ""
    fields = (
        f'<input type="hidden" name="run" value="{escape(run.run_id)}"><input type="hidden" name="anchor" '
        f'value="{escape(anchor)}"><label><span>Note</span><input name="note" value="{escaped(run.rating_note or "")}" '
        f'autocomplete="off"></label>{buttons}{remove}'
    )
    return (
        '<details class="rate plain"><summary>Rate</summary>'
        f"{_form(view, 'rate', session_id, fields, kind='inline')}</details>\n"
    )


def session_controls(view: View, session: Session, *, is_archived: bool) -> str:
    """Return the forms that rename, tag, archive or remove a session."""
    if not view.may_change:
        return ""
    of = session.session_id
    name = (
        f'<label><span>Name</span><input name="name" value="{escaped(session.name or "")}" autocomplete="off"></label>'
        "<button>Rename</button>"
    )
    tag = '<label><span>Tag</span><input name="tag" autocomplete="off" required></label><button>Add the tag</button>'
    tags = "".join(
        _form(
            view,
            "untag",
            of,
            f'<input type="hidden" name="tag" value="{escape(tag)}">'
            f'<button title="Remove the tag" aria-label="Remove the tag {escaped(tag)}">{escaped(tag)} ×</button>',
            kind="inline",
        )
        for tag in session.tags
        if tag != ARCHIVED
    )
    archive = "<button>Take out of the archive</button>" if is_archived else "<button>Archive</button>"
    return (
        '<details class="plain edit"><summary>Change</summary><div class="row">'
        f"{_form(view, 'rename', of, name, kind='inline')}{_form(view, 'tag', of, tag, kind='inline')}{tags}"
        f"{_form(view, 'unarchive' if is_archived else 'archive', of, archive, kind='inline')}"
        f"{_form(view, 'trash', of, '<button class=danger>Move to the trash</button>', kind='inline')}"
        "</div></details>\n"
    )


def state_form(view: View, session: Session, text: str | None = None) -> str:
    """Return the form that edits the state of a session. `text` is what somebody typed before, None for the state."""
    if not view.may_change:
        return ""
    shown = json_text(session.session_state, indent=2)
    rows = min(24, max(4, shown.count("\n") + 2))
    fields = (
        f'<input type="hidden" name="base" value="{escape(json_text(session.session_state))}">'
        "<label><span>State, as a JSON object</span>"
        f'<textarea name="state" rows="{rows}" spellcheck="false">{escape(shown if text is None else text)}</textarea>'
        "</label><button>Save the state</button>"
    )
    opened = "" if text is None else " open"
    return (
        f'<details class="plain"{opened}><summary>Edit the state</summary>'
        f"{_form(view, 'state', session.session_id, fields)}</details>\n"
    )
