"""What answers to requests for pages."""

from __future__ import annotations

import contextlib
import re
from html import escape
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from localstore.errors import LocalstoreError, RunNotFound
from localstore.exporting.characters import json_text
from localstore.exporting.html_run import Anchors
from localstore.exporting.html_text import escaped, preformatted
from localstore.storage.plain_session import read_plain
from localstore.storage.session_row import info_of
from localstore.viewer.assets import TYPES, asset
from localstore.viewer.charts import spark
from localstore.viewer.comparison import comparison_body
from localstore.viewer.counting import Counting
from localstore.viewer.dashboard import dashboard_body
from localstore.viewer.filters import Query, filter_bar, number_in, read_query, time_in
from localstore.viewer.frame import AGAIN, FILTERS, View, page
from localstore.viewer.links import Links
from localstore.viewer.notices import notice
from localstore.viewer.problems import problems_body
from localstore.viewer.reading import page_of_sessions, read_existing, read_part, run_number
from localstore.viewer.searching import Found, Searching
from localstore.viewer.session_list import EXPORTS, results, selection_bar
from localstore.viewer.session_page import FIRST, MORE, earlier_fragment, session_body

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo
    from localstore.models.stats import Prices
    from localstore.storage.contract import SessionStorage

_ENDINGS = {"markdown": "md", "html": "html", "json": "json", "openai-jsonl": "jsonl", "atif": "jsonl"}
_SPARK_RUNS = 24


class Pages:
    """The pages of one storage. Each method answers one kind of request, in a thread."""

    def __init__(self, storage: SessionStorage, store: str, prices: Prices | None, *, may_change: bool) -> None:
        self._storage = storage
        self._store = store
        self._counting = Counting(storage, prices)
        self._searching = Searching(storage)
        self._may_change = may_change

    def view(self, request: Request) -> View:
        """Return what all pages of the answer to a request share."""
        links = Links(request.scope.get("root_path", ""))
        return View(links, self._store, request.scope["localstore_csrf"], may_change=self._may_change)

    def sessions(self, request: Request) -> Response:
        """The list of sessions, or what a search found."""
        view, query = self.view(request), read_query(request.query_params.multi_items())
        found: Found | None = None
        infos: list[SessionInfo] = []
        more, total = "", None
        if query.text and not query.problem:
            try:
                asked_at = time_in(request.query_params.get("asked", ""))
                found = self._searching.find(query.text, query.where, asked_at)
            except ValueError as error:
                query = Query(query.given, query.where, str(error))
        if found is None:
            after, skip = request.query_params.get("after", ""), request.query_params.get("skip", "")
            try:
                infos, following = page_of_sessions(self._storage, query, after, number_in(skip) or 0)
            except ValueError:
                raise HTTPException(400, "The address has no valid place in the list. Load the list again.") from None
            name = "after" if query.sort == "updated" else "skip"
            more = view.links.query("", [*query.pairs, (name, following)]) if following else ""
            total = None if after or skip else self._counting.number(query.where)
        shown = "".join(results(view, query, infos, found, more, total))
        if _asks_for_results(request):
            return HTMLResponse(shown)
        live = view.links.query("live", query.pairs)
        body = [
            '<h1 class="hidden">Sessions</h1>\n',
            filter_bar(view, query, ""),
            selection_bar(view),
            f'<div id="results" data-live="{escaped(live)}" aria-live="off">{shown}</div>\n',
        ]
        status = 400 if query.problem else 200
        return HTMLResponse(page(view, "Sessions", body, notice=notice(view, request.query_params)), status)

    def session(self, request: Request) -> Response:
        """One session: its newest runs, or those before a run."""
        view, session_id = self.view(request), _needed(request, "id")
        before = number_in(request.query_params.get("before", ""))
        return self.session_answer(view, request, session_id, before)

    def session_answer(
        self,
        view: View,
        request: Request,
        session_id: str,
        before: int | None = None,
        *,
        typed_state: str | None = None,
        problem: str = "",
    ) -> Response:
        """Return the page of a session. `problem` says why a state that somebody typed was not accepted."""
        part = read_part(self._storage, session_id, before)
        origin = self._origin(session_id)
        body = session_body(view, part, origin, typed_state=typed_state)
        attributes = ""
        if not part.runs_after:
            live = view.links.page("session/live", id=session_id)
            attributes = f' data-live="{escaped(live)}"'
        said = f'<p class="error" role="alert">{escaped(problem)}</p>' if problem else ""
        said = said or notice(view, request.query_params)
        title = part.session.name or (part.info.title if part.info else None) or session_id
        whole = page(view, title, body, notice=said, attributes=attributes, place="session")
        return HTMLResponse(whole, 400 if problem else 200)

    def _origin(self, session_id: str) -> str | None:
        from localstore.storage.comparing import origin_of

        stored = read_plain(self._storage, session_id, last_runs=0)
        origin = None if stored is None else origin_of(stored)
        return origin if origin is not None and info_of(self._storage, origin) is not None else None

    def earlier(self, request: Request) -> Response:
        """The runs before a run, to be added to a page."""
        part = read_part(self._storage, _needed(request, "id"), number_in(_needed(request, "before")))
        return HTMLResponse("".join(earlier_fragment(self.view(request), part)))

    def run(self, request: Request) -> Response:
        """Redirect to the page of a session that has a run."""
        view, session_id, run_id = self.view(request), _needed(request, "id"), _needed(request, "run")
        number, total = run_number(self._storage, session_id, run_id)
        anchor = Anchors().new("run", run_id)
        before = None if number > total - FIRST else number + MORE // 2
        return RedirectResponse(view.links.session(session_id, anchor, before=before), 303)

    def raw(self, request: Request) -> Response:
        """The document of a session or one of its runs, as JSON."""
        session_id, run_id = _needed(request, "id"), request.query_params.get("run")
        stored = read_existing(self._storage, session_id)
        value: Any = {**stored.header, "history": stored.history}
        if run_id is not None:
            value = next((entry for entry in stored.history if entry.get("run_id") == run_id), None)
            if value is None:
                raise RunNotFound(f"Session {session_id!r} has no run {run_id!r}.", session_id=session_id)
        text = json_text(value, indent=2)
        if request.query_params.get("as") == "text":
            return Response(text, media_type="text/plain")
        view = self.view(request)
        heading = session_id if run_id is None else run_id
        plain = view.links.page("raw", id=session_id, run=run_id, **{"as": "text"})
        back = view.links.session(session_id, "" if run_id is None else Anchors().new("run", run_id))
        body = (
            f'<h1><bdi>{escaped(heading)}</bdi></h1>\n<p class="tools">'
            f'<a href="{escaped(back)}">Back to the session</a><a href="{escaped(plain)}">As plain text</a></p>\n'
            f'<div class="raw">{preformatted(text)}</div>\n'
        )
        return HTMLResponse(page(view, heading, [body], place="session"))

    def spark(self, request: Request) -> Response:
        """A picture of the newest runs of a session: their tokens, or their durations."""
        stored = None
        with contextlib.suppress(LocalstoreError):  # the list says what is wrong with it
            stored = read_plain(self._storage, _needed(request, "id"), last_runs=_SPARK_RUNS)
        runs = [] if stored is None else [entry for entry in stored.history if entry["type"] == "run"]
        answer = Response(spark(runs), media_type="image/svg+xml")
        answer.headers["cache-control"] = "private, max-age=10"
        return answer

    def dashboard(self, request: Request) -> Response:
        """What was used, by time, model, user and entity."""
        view, query = self.view(request), read_query(request.query_params.multi_items())
        by = request.query_params.get("by", "")
        by = by if by in ("day", "month") else ""
        shown = "".join(dashboard_body(view, query, self._counting.figures(query, by), by))
        if _asks_for_results(request):
            return HTMLResponse(shown)
        body = [
            "<h1>Dashboard</h1>\n",
            filter_bar(view, query, "dashboard", has_search=False),
            f'<div id="results">{shown}</div>\n',
        ]
        return HTMLResponse(page(view, "Dashboard", body, place="dashboard"), 400 if query.problem else 200)

    def compare(self, request: Request) -> Response:
        """A session beside another one."""
        view, session_id, other = self.view(request), _needed(request, "id"), _needed(request, "to")
        body = comparison_body(view, self._storage, other, session_id)
        return HTMLResponse(page(view, f"{other} and {session_id}", body, place="session"))

    def problems(self, request: Request) -> Response:
        """What is wrong with the store, and what was set aside."""
        view = self.view(request)
        is_full = request.query_params.get("check") == "all"
        body = problems_body(view, self._storage, is_full=is_full)
        return HTMLResponse(page(view, "Problems", body, place="problems"))

    def export(self, request: Request) -> Response:
        """The download of an export of one session."""
        return self.export_of([_needed(request, "id")], request.query_params.get("format", ""))

    def export_of(self, session_ids: list[str], form: str) -> Response:
        """Return the download of an export. Raises HTTPException for an unknown format, and SessionNotFound."""
        if form not in EXPORTS or not session_ids:
            raise HTTPException(400, "Choose at least one session and a format.")
        parts = iter(self._storage.export(form, session_ids))  # type: ignore[arg-type]
        answer = StreamingResponse((part.encode() for part in parts), media_type="application/octet-stream")
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", session_ids[0])[:80].lstrip(".") if len(session_ids) == 1 else "sessions"
        answer.headers["content-disposition"] = f'attachment; filename="{stem or "session"}.{_ENDINGS[form]}"'
        return answer

    def static(self, request: Request) -> Response:
        """A script, the style sheet or the icon."""
        name = request.path_params["name"]
        if name not in TYPES:
            raise HTTPException(404)
        answer = Response(asset(name), media_type=TYPES[name])
        answer.headers["cache-control"] = "private, max-age=3600"
        return answer

    def problem(self, request: Request, error: Exception, status: int) -> Response:
        """Return a page that says what went wrong."""
        text = str(error) if isinstance(error, LocalstoreError) else _os_error(error)
        return self.say(request, text, status)

    def say(self, request: Request, text: str, status: int) -> Response:
        """Return a page that says only this."""
        view = self.view(request)
        back = f'<p class="tools"><a href="{escaped(view.links.page(""))}">All sessions</a></p>'
        session_id = request.query_params.get("id")
        if session_id and status != 404:
            back += f'<p><a href="{escaped(view.links.page("problems"))}">Problems of the store</a></p>'
        body = f'<h1>That did not work</h1>\n<p class="error" role="alert">{escape(text)}</p>\n{back}\n'
        return HTMLResponse(page(view, "That did not work", [body], place="problem"), status)


def _asks_for_results(request: Request) -> bool:
    """Return whether a page that is open asks for its results alone."""
    return request.headers.get("hx-trigger") in (FILTERS, AGAIN)


def _needed(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise HTTPException(400, f"The address has no {name}.")
    return value


def _os_error(error: Exception) -> str:
    what = getattr(error, "strerror", None) or str(error) or type(error).__name__
    where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
    return f"{where}{what}. Check that the store can be reached, and try again."
