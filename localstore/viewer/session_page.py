"""The page of a session: its header, its state, its runs from the tail, and a list of them beside it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localstore.exporting.characters import json_text
from localstore.exporting.html_bars import bar
from localstore.exporting.html_run import Anchors, RunWriter
from localstore.exporting.html_text import escaped, preformatted
from localstore.exporting.labels import title
from localstore.models.excerpt import one_line
from localstore.models.figures import amount, counted, short_time
from localstore.models.filter import ARCHIVED
from localstore.models.session import Entry, Run, Session, Update
from localstore.viewer.controls import rate_form, session_controls, state_form
from localstore.viewer.frame import View, moment
from localstore.viewer.session_list import EXPORTS, status_mark

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo

FIRST, MORE = 20, 100
"""How many runs a page shows at first, and how many are added at a time."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a session's history."""

    session: Session
    """The session, with the entries of the part as its history."""
    info: SessionInfo | None
    """Its row in a listing; None if it has none any more."""
    runs_before: int
    """How many runs come before the part."""
    runs_after: int = 0
    sub_sessions: tuple[SessionInfo, ...] = ()

    @property
    def last_number(self) -> int:
        """The number of the last run of the part."""
        return self.runs_before + len(self.session.runs)


def session_body(view: View, part: Part, origin: str | None, *, typed_state: str | None = None) -> Iterator[str]:
    """Yield the main part of the page of a session.

    `origin` is the session that it was forked from or is a replay of. `typed_state` is a state that was not accepted.
    """
    session = part.session
    yield '<div class="session-page">\n'
    yield '<nav class="runs" aria-label="Runs"><h2 class="hidden">Runs</h2>'
    yield f'<ol id="run-list">{run_list(part)}</ol></nav>\n'
    yield f'<article class="content" id="session" data-id="{escaped(session.session_id)}">\n'
    yield from _head(view, part, origin)
    if session.session_state or view.may_change:
        yield '<section class="state" id="state" aria-label="State">\n'
        if session.session_state:
            text = preformatted(json_text(session.session_state, indent=2))
            keys = escaped(", ".join(session.session_state))
            yield f"<details><summary>State now: {keys}</summary>{text}</details>\n"
        yield f"{state_form(view, session, typed_state)}</section>\n"
    for name, label in (("session_summary", "Summary"), ("session_data", "Data"), ("instructions", "Instructions")):
        if value := getattr(session, name):
            text = value if isinstance(value, str) else json_text(value, indent=2)
            yield f"<details><summary>{label}</summary>{preformatted(text)}</details>\n"
    if session.metadata:
        yield f"<details><summary>Metadata</summary>{preformatted(json_text(session.metadata, indent=2))}</details>\n"
    yield earlier(view, part)
    yield '<div id="history">\n'
    yield from history(view, part)
    yield "</div>\n"
    if not session.history:
        yield '<p class="notice" id="nothing">Nothing happened in this session yet.</p>\n'
    if part.runs_after:
        address = view.links.session(session.session_id, before=part.last_number + MORE + 1)
        newest = view.links.session(session.session_id)
        yield (
            f'<p class="pages"><a href="{escaped(address)}">Later runs</a> · '
            f'<a href="{escaped(newest)}">The newest runs</a></p>\n'
        )
    yield '<p id="live" class="live" role="status"></p>\n</article>\n</div>\n'


def history(view: View, part: Part) -> Iterator[str]:
    """Yield the entries of a part of a session."""
    session_id = part.session.session_id
    controls = run_controls(view, session_id)
    writer = RunWriter(Anchors(), images=True, controls=controls)
    yield from writer.history(part.session.history, runs_before=part.runs_before)


def run_controls(view: View, session_id: str) -> Callable[[Run, str], str]:
    """Return the function that makes what stands below each run: its rating and its links."""

    def controls(run: Run, anchor: str) -> str:
        if view.is_static:
            return ""
        raw = view.links.page("raw", id=session_id, run=run.run_id)
        return (
            f'<div class="after">{rate_form(view, session_id, run, anchor)}<a href="{escaped(raw)}">Raw</a>'
            f'<button type="button" class="copy" data-copy="{escaped(run.run_id)}">Copy the id</button></div>\n'
        )

    return controls


def entry_html(view: View, session_id: str, entry: Run | Update | Entry, number: int) -> str:
    """Return an entry alone, as the page shows it. `number` is that of a run."""
    writer = RunWriter(Anchors(), images=True, controls=run_controls(view, session_id))
    return "".join(writer.history([entry], runs_before=max(0, number - 1)))


def run_list(part: Part) -> str:
    """Return the items of the list of runs: number, question, how it ended, and how long it took as a bar."""
    runs = part.session.runs
    longest = max((_seconds(run) for run in runs), default=0.0)
    anchors = Anchors()
    return "".join(
        run_item(run, number, anchors.new("run", run.run_id), longest)
        for number, run in enumerate(runs, part.runs_before + 1)
    )


def run_item(run: Run, number: int, anchor: str, longest: float) -> str:
    """Return one item of the list of runs."""
    seconds = _seconds(run)
    question = escaped(one_line(run.question, 70)) or "…"
    drawn = bar(0.0, seconds / longest) if longest and seconds else ""
    return (
        f'<li data-run="{anchor}"><a href="#{anchor}">{status_mark(run.status)}<span class="number">{number:,}</span> '
        f'<bdi>{question}</bdi></a><span class="hidden">{short_time(seconds) if seconds else ""}</span>{drawn}</li>\n'
    )


def earlier(view: View, part: Part) -> str:
    """Return the link to the runs before a part; an empty place if there are none."""
    if not part.runs_before:
        return '<p class="pages" id="earlier"></p>\n'
    session_id = part.session.session_id
    number = min(MORE, part.runs_before)
    address = view.links.session(session_id, before=part.runs_before + 1)
    first = view.links.session(session_id, before=MORE + 1)
    load = view.links.page("earlier", id=session_id, before=part.runs_before + 1)
    return (
        f'<p class="pages" id="earlier"><a href="{escaped(address)}" hx-get="{escaped(load)}" hx-target="#history" '
        f'hx-swap="afterbegin">{counted(number, "earlier run")}</a> of {part.runs_before:,} · '
        f'<a href="{escaped(first)}">The first runs</a></p>\n'
    )


def earlier_fragment(view: View, part: Part) -> Iterator[str]:
    """Yield what the link to earlier runs loads: the runs, their items in the list, and the next link."""
    yield from history(view, part)
    yield f'<ol hx-swap-oob="afterbegin:#run-list">{run_list(part)}</ol>\n'
    yield earlier(view, part).replace('id="earlier"', 'id="earlier" hx-swap-oob="true"', 1)


def _head(view: View, part: Part, origin: str | None) -> Iterator[str]:
    session, info, links = part.session, part.info, view.links
    session_id = session.session_id
    yield f'<h1><bdi>{escaped(title(session))}</bdi></h1>\n<p class="facts">'
    facts = [
        f'<code class="id"><bdi>{escaped(session_id)}</bdi></code>',
        escaped(f"{session.kind} {session.entity_id}" if session.entity_id else session.kind),
    ]
    if session.user_id is not None:
        facts.append(
            f'user <a href="{escaped(links.page("", user=session.user_id))}"><bdi>{escaped(session.user_id)}</bdi></a>'
        )
    facts.append(f"began {moment(session.created_at)}")
    if info is not None:
        facts.append(counted(info.runs, "run"))
        if tokens := info.input_tokens + info.output_tokens:
            facts.append(f"{amount(tokens)} tokens")
        if info.seconds:
            facts.append(short_time(info.seconds))
        facts += [escaped(one_line(model, 40)) for model in info.models]
    yield "".join(f"<span>{fact}</span>" for fact in facts)
    yield "</p>\n"
    if (part_of := session.part_of) and not view.is_static:
        whole = escaped(links.session(part_of))
        yield f'<p class="tags">Part of <a href="{whole}"><bdi>{escaped(part_of)}</bdi></a></p>\n'
    if part.sub_sessions:
        address = escaped(links.page("", part_of=session_id))
        yield f'<p class="tags"><a href="{address}">{counted(len(part.sub_sessions), "sub-session")}</a></p>\n'
    if session.tags:
        tags = (
            f'<a class="tag" href="{escaped(links.page("", tag=tag))}"><bdi>{escaped(tag)}</bdi></a>'
            for tag in session.tags
        )
        yield f'<p class="tags">{"".join(tags)}</p>\n'
    if view.is_static:
        return
    command = f"localstore chat {shlex.quote(session_id)} --store {shlex.quote(view.store)}"
    yield (
        '<p class="tools">'
        f'<button type="button" class="copy" data-copy="{escaped(session_id)}">Copy the id</button>'
        f'<button type="button" class="copy" data-copy="{escaped(command)}" title="{escaped(command)}">'
        "Continue in the terminal</button>"
        f'<a href="{escaped(links.page("raw", id=session_id))}">Raw document</a>'
    )
    if origin is not None:
        compare = links.page("compare", id=session_id, to=origin)
        yield f'<a href="{escaped(compare)}">Compare with its origin</a>'
    for form, label in EXPORTS.items():
        if form in ("markdown", "html"):
            yield f'<a href="{escaped(links.page("export", id=session_id, format=form))}">{label}</a>'
    yield "</p>\n"
    yield session_controls(view, session, is_archived=ARCHIVED in session.tags)


def _seconds(run: Run) -> float:
    return (run.metrics.duration_seconds if run.metrics else None) or 0.0
