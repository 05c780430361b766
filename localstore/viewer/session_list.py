"""The page of all sessions: a table, or what a search found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from localstore.exporting.html_text import escaped
from localstore.models.excerpt import one_line
from localstore.models.figures import amount, counted, short_time
from localstore.viewer.controls import hidden_csrf
from localstore.viewer.filters import Query
from localstore.viewer.frame import View, load_again, moment
from localstore.viewer.searching import MOST_HITS, Found

if TYPE_CHECKING:
    from localstore.models.search_hit import SearchHit

MARKS = {
    "completed": ("✓", "completed"),
    "error": ("✗", "failed"),
    "unfinished": ("…", "unfinished"),
    "cancelled": ("■", "cancelled"),
}
EXPORTS = {
    "markdown": "Markdown",
    "html": "One web page",
    "json": "JSON documents",
    "openai-jsonl": "Examples for fine-tuning",
    "atif": "ATIF trajectories",
}
_COLUMNS = ("Title", "User", "Tags", "Runs", "Tokens", "Time", "Activity", "Last active")


class Listed(Protocol):
    """What the list shows of a session; a `SessionInfo` has all of it."""

    @property
    def session_id(self) -> str: ...
    @property
    def title(self) -> str | None: ...
    @property
    def kind(self) -> str: ...
    @property
    def entity_id(self) -> str | None: ...
    @property
    def user_id(self) -> str | None: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def runs(self) -> int: ...
    @property
    def failures(self) -> int: ...
    @property
    def status(self) -> str | None: ...
    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def ratings(self) -> dict[str, int]: ...
    @property
    def updated_at(self) -> datetime | None: ...
    @property
    def problem(self) -> str | None: ...


def status_mark(status: str | None) -> str:
    """Return how a run ended as a mark with a text for screen readers; "" for a session without runs."""
    if status is None:
        return '<span class="mark"></span>'
    mark, word = MARKS.get(status, ("?", status))
    kind = status if status in MARKS else "other"
    return f'<span class="mark is-{kind}" role="img" aria-label="{escaped(word)}" title="{escaped(word)}">{mark}</span>'


def session_table(view: View, infos: Sequence[Listed], more: str) -> Iterator[str]:
    """Yield a table of sessions. `more` is the address of the rest of the list, "" if this is the end."""
    if not infos:
        yield '<p class="notice">No sessions match.</p>\n'
        return
    heads = "".join(f'<th scope="col" class="c-{name.split()[0].lower()}">{name}</th>' for name in _COLUMNS)
    choose = '<th scope="col" class="c-choose"><span class="hidden">Choose</span></th>' if not view.is_static else ""
    yield f'<table class="sessions"><thead><tr>{choose}{heads}</tr></thead>\n<tbody id="rows">\n'
    yield from session_rows(view, infos, more)
    yield "</tbody></table>\n"


def session_rows(view: View, infos: Sequence[Listed], more: str) -> Iterator[str]:
    """Yield the rows of a table of sessions, and one that loads the next ones."""
    for info in infos:
        yield _row(view, info)
    if more:
        yield (
            f'<tr class="more" hx-get="{escaped(more)}" hx-trigger="revealed" hx-swap="outerHTML" '
            'hx-select="#rows > tr">'
            f'<td colspan="9"><a href="{escaped(more)}">More sessions</a></td></tr>\n'
        )


def _row(view: View, info: Listed) -> str:
    address = view.links.session(info.session_id)
    title = escaped(info.title or info.session_id)
    tags = "".join(
        f'<a class="tag" href="{escaped(view.links.page("", tag=tag))}"><bdi>{escaped(one_line(tag, 30))}</bdi></a>'
        for tag in info.tags
    )
    problem = f'<small class="failed">{escaped(one_line(info.problem, 160))}</small>' if info.problem else ""
    what = " ".join(filter(None, (info.kind, info.entity_id)))
    about = escaped(f"{what} · {one_line(info.session_id, 40)}")
    user = "" if info.user_id is None else escaped(one_line(info.user_id, 30))
    rated = "".join(
        f'<span class="{name}" title="{number} rated {name}">{sign}{number if number > 1 else ""}</span> '
        for name, sign in (("good", "▲"), ("bad", "▼"))
        if (number := info.ratings.get(name, 0))
    )
    tokens = info.input_tokens + info.output_tokens
    cells = {
        "title": f'<a class="open" href="{escaped(address)}">{status_mark(info.status)}<bdi>{title}</bdi></a> {rated}'
        f"<small><bdi>{about}</bdi></small>{problem}",
        "user": f'<a href="{escaped(view.links.page("", user=info.user_id))}"><bdi>{user}</bdi></a>' if user else "",
        "tags": tags,
        "runs": f"{info.runs:,}"
        + (f' <span class="failed" title="failed">({info.failures:,} ✗)</span>' if info.failures else ""),
        "tokens": amount(tokens) if tokens else "",
        "time": short_time(info.seconds) if info.seconds else "",
        "activity": ""
        if view.is_static or not info.runs
        else f'<img src="{escaped(view.links.page("spark.svg", id=info.session_id))}" width="96" height="20" alt="" '
        'loading="lazy" decoding="async">',
        "last": moment(info.updated_at),
    }
    choose = (
        ""
        if view.is_static
        else f'<td class="c-choose"><input type="checkbox" name="id" form="chosen" value="{escaped(info.session_id)}" '
        f'aria-label="Choose {title}"></td>'
    )
    return (
        f'<tr class="session">{choose}'
        + "".join(f'<td class="c-{name}">{cell}</td>' for name, cell in cells.items())
        + "</tr>\n"
    )


def hits_list(view: View, hits: Sequence[SearchHit], query: Query) -> Iterator[str]:
    """Yield what a search found, the hits of a session below each other, with the words marked."""
    if not hits:
        yield f'<p class="notice">Nothing found for “{escaped(query.text)}”.</p>\n'
        return
    yield '<ol class="hits">\n'
    for session_id, found in groupby(hits, key=lambda hit: hit.session_id):
        together = list(found)
        title = escaped(together[0].title or session_id)
        user = f" · {escaped(together[0].user_id)}" if together[0].user_id else ""
        yield (
            f'<li class="session"><a class="open" href="{escaped(view.links.session(session_id))}">'
            f"<bdi>{title}</bdi></a> <small>{moment(together[0].created_at)}{user}</small>\n<ul>"
        )
        for hit in together:
            yield f"<li>{_hit(view, hit)}</li>\n"
        yield "</ul></li>\n"
    yield "</ol>\n"


def _hit(view: View, hit: SearchHit) -> str:
    where = hit.role or hit.field
    if hit.run_id is not None:
        number = f"Run {hit.run_number}" if hit.run_number is not None else "Run"
        label = f"{number}, {where}"
        address = view.links.page("run", id=hit.session_id, run=hit.run_id)
    else:
        label, address = where, view.links.session(hit.session_id)
    return f'<a href="{escaped(address)}">{escaped(label)}</a> <span class="snippet" dir="auto">{_marked(hit)}</span>'


def _marked(hit: SearchHit) -> str:
    parts, at = [], 0
    for start, end in hit.places:
        parts.append(f"{escaped(hit.snippet[at:start])}<mark>{escaped(hit.snippet[start:end])}</mark>")
        at = end
    return "".join([*parts, escaped(hit.snippet[at:])])


def _freshness(view: View, query: Query, found: Found) -> str:
    """Return a text that says which edits a search knows; "" if it knows all. The results are loaded again in time."""
    if found.compared_at is None:
        return ""
    local = datetime.fromtimestamp(found.compared_at).astimezone()
    text = f". What other programs edited is found up to {local:%H:%M:%S}"
    if found.is_complete:
        return f"{text}."
    again = view.links.query("", [*query.pairs, ("asked", f"{found.asked_at:.3f}")])
    return f"{text}; newer ones are being looked for.{load_again(again)}"


def selection_bar(view: View) -> str:
    """Return the form for what can be done with the chosen sessions."""
    options = "".join(f'<option value="{form}">{label}</option>' for form, label in EXPORTS.items())
    change = ""
    if view.may_change:
        change = (
            f'<button formaction="{escaped(view.links.page("archive"))}">Archive</button>'
            f'<button formaction="{escaped(view.links.page("trash"))}" class="danger">Move to the trash</button>'
        )
    return (
        f'<form id="chosen" class="chosen" method="post" action="{escaped(view.links.page("export"))}">'
        f"{hidden_csrf(view)}<span>Chosen sessions:</span>"
        f'<label><span class="hidden">Format</span><select name="format">{options}</select></label>'
        f"<button>Export</button>{change}</form>\n"
    )


def results(
    view: View,
    query: Query,
    listed: Sequence[Listed],
    found: Found | None,
    more: str,
    total: int | None,
) -> Iterator[str]:
    """Yield the part of the page that follows the filter: the number of sessions, and the table or the hits."""
    if query.problem:
        yield f'<p class="error" role="alert">{escaped(query.problem)}</p>\n'
    if found is not None:
        number = f"The newest {MOST_HITS} hits" if len(found.hits) >= MOST_HITS else counted(len(found.hits), "hit")
        yield f'<p class="total">{number}{_freshness(view, query, found)}</p>\n'
        yield from hits_list(view, found.hits, query)
        return
    if total is not None:
        yield f'<p class="total">{counted(total, "session")}</p>\n'
    yield from session_table(view, listed, more)
