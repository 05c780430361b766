"""The page that shows a session beside its fork, its replay, or any other session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from localstore.exporting.characters import short_json
from localstore.exporting.html_run import Anchors, RunWriter
from localstore.exporting.html_text import escaped, preformatted
from localstore.models.figures import counted
from localstore.models.session import entry_adapter
from localstore.storage.comparing import Pair, compare
from localstore.viewer.frame import View
from localstore.viewer.reading import read_existing

if TYPE_CHECKING:
    from localstore.storage.contract import SessionStorage

_MOST = 200
"""How many differing entries are shown."""


def comparison_body(view: View, storage: SessionStorage, old_id: str, new_id: str) -> Iterator[str]:
    """Yield the main part of the page. Raises SessionNotFound."""
    old, new = read_existing(storage, old_id), read_existing(storage, new_id)
    difference = compare(old, new)
    yield "<h1>Compare</h1>\n"
    yield '<div class="pair heads">'
    for session_id, session in ((old_id, old), (new_id, new)):
        name = session.header.get("name") or session_id
        yield f'<div><h2><a href="{escaped(view.links.session(session_id))}"><bdi>{escaped(name)}</bdi></a></h2>'
        yield f"<p class=facts><span><code>{escaped(session_id)}</code></span></p></div>"
    yield "</div>\n"
    same = counted(difference.equal_runs, "run")
    summary = f"{same} {'is' if difference.equal_runs == 1 else 'are'} the same in both."
    if not difference:
        summary += " The sessions do not differ."
    yield f'<p class="total">{summary}</p>\n'
    for name, values in difference.header.items():
        yield f'<h2 class="field">{escaped(name)}</h2>\n<div class="pair">'
        yield "".join(f"<div>{_value(value)}</div>" for value in values)
        yield "</div>\n"
    writers = [RunWriter(Anchors(), images=True) for _ in range(2)]
    for pair in difference.entries[:_MOST]:
        yield f'<h2 class="field">{escaped(_title(pair))}</h2>\n<div class="pair">'
        yield f"<div>{_entry(writers[0], pair.old, pair.old_number)}</div>"
        yield f"<div>{_entry(writers[1], pair.new, pair.new_number)}</div>"
        yield "</div>\n"
    if len(difference.entries) > _MOST:
        yield f'<p class="notice">and {len(difference.entries) - _MOST:,} more entries that differ</p>\n'


def _title(pair: Pair) -> str:
    number = pair.new_number or pair.old_number
    name = "Entry" if number is None else f"Run {number}"
    if pair.old is None or pair.new is None:
        return f"{name}: only on the {'right' if pair.old is None else 'left'}"
    return f"{name}: {', '.join(pair.fields)}" if pair.fields else name


def _value(value: Any) -> str:
    if value is None:
        return '<p class="notice">none</p>'
    return preformatted(value if isinstance(value, str) else short_json(value))


def _entry(writer: RunWriter, entry: Mapping[str, Any] | None, number: int | None) -> str:
    if entry is None:
        return '<p class="notice">not there</p>'
    return "".join(writer.history([entry_adapter().validate_python(entry)], runs_before=(number or 1) - 1))
