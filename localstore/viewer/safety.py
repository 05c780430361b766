"""What guards the pages: who may ask, from where, and what a browser may do with an answer.

A page of another site can make a browser send requests to this one. So each request is checked for the name of the host
(against DNS rebinding), each change for its origin and for a token that only our own pages know, and everything but the
first request for a cookie that follows from the token in the printed address.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localstore.exporting.html_text import escaped

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_COOKIE = "localstore_"
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with no-referrer, a browser would send no Origin along with a form
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_SAFE_METHODS = ("GET", "HEAD")


class Guard:
    """Wraps an app, and lets through only what may ask it."""

    def __init__(self, app: ASGIApp, *, token: str | None, hosts: Collection[str] | None) -> None:
        """Guard an app.

        Args:
            app: The app.
            token: Who has it, in the address or as a cookie, may ask. None lets everybody ask.
            hosts: The names by which the app may be asked, without ports. None allows all names.
        """
        self._app = app
        self._token = token
        self._hosts = None if hosts is None else {host.lower() for host in hosts}
        self._name = _COOKIE + hashlib.sha256((token or "").encode()).hexdigest()[:8]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if problem := self._refusal(scope, headers):
            await problem(scope, receive, send)
            return
        known = cookie_value(headers, self._name)
        expected = None if self._token is None else _proof(self._token, "cookie")
        is_new = False
        if expected is None:
            is_new = not known
            known = known or secrets.token_urlsafe(24)
        elif not known or not hmac.compare_digest(known.encode(), expected.encode()):
            answer = self._entrance(scope, expected)
            await answer(scope, receive, send)
            return
        scope["localstore_csrf"] = _proof(known, "csrf")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    added.setdefault(name, value)
                added.setdefault("cache-control", "no-store")
                if is_new:
                    added.append("set-cookie", self._cookie(scope, known))
            await send(message)

        await self._app(scope, receive, with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> HTMLResponse | None:
        """Return the answer to a request that comes by a wrong name or from another site, or None."""
        host = headers.get("host", "")
        if self._hosts is not None and _hostname(host) not in self._hosts:
            return refusal(
                421,
                f"This server does not answer to the name {host!r}. Open the address that 'localstore serve' printed, "
                "or start it with --allow-host NAME.",
            )
        if scope["method"] not in _SAFE_METHODS:
            origin = headers.get("origin")
            site = headers.get("sec-fetch-site", "same-origin")
            if (origin is not None and urlsplit(origin).netloc != host) or site not in ("same-origin", "none"):
                return refusal(403, "The request came from another site. Open the page here and try again.")
        return None

    def _entrance(self, scope: Scope, expected: str) -> HTMLResponse | RedirectResponse:
        """Return the answer to a request without the cookie: it is set if the address has the token."""
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = "".join(value for name, value in pairs if name == "token")
        if self._token is None or not hmac.compare_digest(given.encode(), self._token.encode()):
            return refusal(403, "Open the whole address that 'localstore serve' printed: it has a token.")
        rest = urlencode([pair for pair in pairs if pair[0] != "token"])
        answer = RedirectResponse(f"/{scope['path'].lstrip('/')}{'?' if rest else ''}{rest}", 303)
        answer.headers["set-cookie"] = self._cookie(scope, expected)
        answer.headers["cache-control"] = "no-store"
        answer.headers["referrer-policy"] = "no-referrer"
        return answer

    def _cookie(self, scope: Scope, value: str) -> str:
        path = scope.get("root_path", "") or "/"
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        return f"{self._name}={value}; HttpOnly; SameSite=Strict; Path={path}{secure}"


def refusal(status: int, text: str) -> HTMLResponse:
    """Return an answer that only says why."""
    answer = HTMLResponse(f"<!DOCTYPE html><title>localstore</title><p>{escaped(text)}</p>", status)
    for name, value in _HEADERS.items():
        answer.headers[name] = value
    return answer


def is_own_form(expected: str, given: str) -> bool:
    """Return whether a form has the token of our own pages."""
    return hmac.compare_digest(expected.encode(), given.encode())


def cookie_value(headers: Headers, name: str) -> str | None:
    """Return the value of a cookie, or None."""
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None
    return cookies[name].value if name in cookies else None


def _proof(secret: str, purpose: str) -> str:
    return hmac.new(secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def _hostname(host: str) -> str:
    """Return the name in a Host header, without the port and the brackets of an IPv6 address."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
