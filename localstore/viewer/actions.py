"""What changes sessions. Each action is a form that answers with a redirect, so that a page can be loaded again."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from localstore.format.values import json_equal
from localstore.viewer.safety import is_own_form

if TYPE_CHECKING:
    from localstore.storage.contract import SessionStorage
    from localstore.viewer.pages import Pages

_Form = dict[str, list[str]]
ACTIONS = ("rate", "rename", "tag", "untag", "archive", "unarchive", "trash", "restore", "state", "export")
_CHANGES_NOTHING = "export"


class Actions:
    """The actions on one storage."""

    def __init__(self, storage: SessionStorage, pages: Pages, *, read_only: bool) -> None:
        self._storage = storage
        self._pages = pages
        self._read_only = read_only

    def post(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers to a form for an action."""
        act: Callable[[Request, _Form], Response] = getattr(self, f"_{name}")

        async def answer(request: Request) -> Response:
            form = parse_qs((await request.body()).decode(errors="replace"), keep_blank_values=True)
            if not is_own_form(request.scope["localstore_csrf"], _last(form, "csrf")):
                raise HTTPException(403, "The form is from an earlier start of the server. Load the page again.")
            if self._read_only and name != _CHANGES_NOTHING:
                raise HTTPException(403, "The sessions can only be read here.")
            try:
                return await run_in_threadpool(act, request, form)
            except (TypeError, ValueError) as error:
                return await run_in_threadpool(self._pages.problem, request, error, 400)

        return answer

    def _rate(self, request: Request, form: _Form) -> Response:
        rating, note = _last(form, "rating"), _last(form, "note").strip()
        self._storage.rate(_id(form), _last(form, "run"), rating or None, (note or None) if rating else None)  # type: ignore[arg-type]
        return self._back(request, form, "rated" if rating else "unrated", _last(form, "anchor"))

    def _rename(self, request: Request, form: _Form) -> Response:
        self._storage.update(_id(form), name=_last(form, "name").strip() or None)
        return self._back(request, form, "renamed")

    def _tag(self, request: Request, form: _Form) -> Response:
        self._storage.update(_id(form), add_tags=[_last(form, "tag").strip()])
        return self._back(request, form, "tagged")

    def _untag(self, request: Request, form: _Form) -> Response:
        self._storage.update(_id(form), remove_tags=[_last(form, "tag")])
        return self._back(request, form, "untagged")

    def _archive(self, request: Request, form: _Form) -> Response:
        self._storage.archive(_ids(form))
        return self._back(request, form, "archived")

    def _unarchive(self, request: Request, form: _Form) -> Response:
        self._storage.unarchive(_ids(form))
        return self._back(request, form, "unarchived")

    def _trash(self, request: Request, form: _Form) -> Response:
        removal = self._storage.trash(_ids(form))
        if removal.problems and not removal.moved:
            raise next(iter(removal.problems.values()))
        view = self._pages.view(request)
        items = ",".join(item.name for item in removal.moved)
        return RedirectResponse(view.links.page("", done="trashed", items=items), 303)

    def _restore(self, request: Request, form: _Form) -> Response:
        for name in form.get("item", []):
            self._storage.restore(name)
        return RedirectResponse(self._pages.view(request).links.page("", done="restored"), 303)

    def _state(self, request: Request, form: _Form) -> Response:
        session_id, text = _id(form), _last(form, "state")

        def refused(problem: str) -> Response:
            view = self._pages.view(request)
            return self._pages.session_answer(view, request, session_id, typed_state=text, problem=problem)

        try:
            state: Any = json.loads(text)
        except ValueError as error:
            return refused(f"The state is not JSON: {error}. Nothing was written.")
        if not isinstance(state, dict):
            return refused("The state must be a JSON object, in braces. Nothing was written.")
        session = self._storage.read(session_id, last_runs=0)
        if session is None:
            return self._pages.say(request, f"There is no session {session_id!r}.", 404)
        if not json_equal(session.session_state, json.loads(_last(form, "base"))):
            return refused(
                "The state was changed meanwhile. Nothing was written: compare with the state above, and save again."
            )
        self._storage.update(session_id, session_state=state)
        return self._back(request, form, "state", "state")

    def _export(self, _: Request, form: _Form) -> Response:
        return self._pages.export_of(form.get("id", []), _last(form, "format"))

    def _back(self, request: Request, form: _Form, done: str, anchor: str = "") -> Response:
        """Return to where the form was: the page of the session, or the list if several were chosen."""
        links = self._pages.view(request).links
        if "anchor" not in form and done in ("archived", "unarchived"):
            return RedirectResponse(links.page("", done=done), 303)
        address = links.page("session", id=_id(form), done=done)
        return RedirectResponse(address + (f"#{anchor}" if anchor.isprintable() and anchor else ""), 303)


def _last(form: _Form, name: str) -> str:
    return form.get(name, [""])[-1]


def _id(form: _Form) -> str:
    if not (session_id := _last(form, "id")):
        raise HTTPException(400, "Choose a session.")
    return session_id


def _ids(form: _Form) -> list[str]:
    if not (ids := [one for one in form.get("id", []) if one]):
        raise HTTPException(400, "Choose at least one session.")
    return ids
