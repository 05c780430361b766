"""The ASGI app of the pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "The viewer needs the package starlette. Run: pip install 'localstore-sessions[serve]'", name=error.name
    ) from None

from localstore.errors import LocalstoreError, RunNotFound, SessionNotFound
from localstore.viewer.actions import ACTIONS, Actions
from localstore.viewer.live import Live
from localstore.viewer.pages import Pages
from localstore.viewer.safety import Guard

if TYPE_CHECKING:
    from localstore.models.stats import Prices
    from localstore.storage.contract import SessionStorage

MOST_BYTES = 32_000_000
"""How long the body of a request may be. A state that somebody edits may be long."""


class Viewer(Guard):
    """The app, which can end its open streams before the server stops."""

    def __init__(self, inner: Starlette, live: Live, *, token: str | None, hosts: Collection[str] | None) -> None:
        super().__init__(inner, token=token, hosts=hosts)
        self._live = live

    def close(self) -> None:
        """End the streams of pages that are open. A server would wait for them."""
        self._live.is_closed = True


def app(
    storage: SessionStorage,
    *,
    read_only: bool = True,
    token: str | None = None,
    hosts: Collection[str] | None = None,
    prices: Prices | None = None,
    name: str | None = None,
) -> Viewer:
    """Return an ASGI app with the pages of a storage, to serve alone or to mount into another app.

        >>> from localstore.viewer import app
        >>> dashboard = app(storage)

    In FastAPI or Starlette, mount it with `server.mount("/sessions", app(storage))`. Whoever reaches the app sees every
    session, so it belongs behind the login of the app around it, or needs a token.

    Args:
        storage: A storage in a folder or a database.
        read_only: If True, the pages offer no changes, and none are accepted.
        token: If given, a browser has to open an address with `?token=...` first, and then gets a cookie.
        hosts: The names by which the app may be asked, such as "localhost", without ports. None allows all names.
        prices: Prices per million tokens by model, for the cost on the dashboard, as in `storage.stats`.
        name: The name of the store on the pages. None shows its folder, or its URL without the password.

    Raises TypeError or ValueError if `prices` is no table of prices.
    """
    from localstore.models.stats import check_prices

    shown = storage._copy_side().name if name is None else name
    pages = Pages(storage, shown, None if prices is None else check_prices(prices), may_change=not read_only)
    actions = Actions(storage, pages, read_only=read_only)
    live = Live(storage, pages)
    routes = [
        Route("/", pages.sessions),
        Route("/session", pages.session),
        Route("/earlier", pages.earlier),
        Route("/run", pages.run),
        Route("/raw", pages.raw),
        Route("/spark.svg", pages.spark),
        Route("/dashboard", pages.dashboard),
        Route("/compare", pages.compare),
        Route("/problems", pages.problems),
        Route("/export", pages.export, methods=["GET"]),
        Route("/static/{name}", pages.static),
        Route("/live", live.sessions),
        Route("/session/live", live.session),
        *(Route(f"/{action}", actions.post(action), methods=["POST"]) for action in ACTIONS),
    ]
    handlers: dict[type[Exception], Callable[[Request, Exception], Response | Awaitable[Response]]] = {
        SessionNotFound: _handler(pages, 404),
        RunNotFound: _handler(pages, 404),
        LocalstoreError: _handler(pages, 409),
        OSError: _handler(pages, 503),
        HTTPException: _http_error(pages),
        Exception: _bug(pages),
    }
    inner = Starlette(routes=routes, exception_handlers=handlers, max_body_size=MOST_BYTES)
    return Viewer(inner, live, token=token, hosts=hosts)


def _handler(pages: Pages, status: int) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        return pages.problem(request, error, status)

    return answer


def _bug(pages: Pages) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        text = f"A bug in localstore ({type(error).__name__}: {error}). Please report this line."
        return pages.say(request, text, 500)

    return answer


def _http_error(pages: Pages) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        text = {404: "There is no such page.", 405: "The page cannot be asked in this way."}
        detail = error.detail if isinstance(error, HTTPException) else ""
        return pages.say(request, text.get(status, detail), status)

    return answer
