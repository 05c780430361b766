"""Keeps API keys and passwords out of error messages, and so out of documents, exports and terminals."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "***"
"""Replaces a secret."""

_SHORTEST, _LONG = 3, 8
"""Shorter secrets are left in place. A secret that is not long is only replaced where it stands as a whole word."""
_PLACEHOLDERS = frozenset(
    (
        "none",
        "null",
        "empty",
        "key",
        "not-needed",
        "no-key-required",
        "sk-no-key-required",
        "dummy",
        "ollama",
        "lm-studio",
    )
)
"""Values that people pass as the key for a server that needs none. They are not secret."""
_SECRET_NAME = re.compile(r"auth|key|token|secret|passw|cookie|signature", re.IGNORECASE)
_USER_INFO = re.compile(r"""://[^\s/?#"'<>]*@""")


def without_user_info(text: str) -> str:
    """Return `text` with `***` in place of the user name and the password of each URL in it.

    >>> without_user_info("http://alice:wonder@localhost:8000/v1 is down")
    'http://***@localhost:8000/v1 is down'
    """
    return _USER_INFO.sub(f"://{MASK}@", text)


def public_address(url: str) -> str:
    """Return the address of a server without user name, password and query, also if it is not a valid URL.

    >>> public_address("alice:wonder@localhost:8000/v1?key=1")
    '***@localhost:8000/v1'
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    rest = re.split(r"[?#]", rest, maxsplit=1)[0] if "@" not in rest else rest.rpartition("@")[2]
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    return f"{scheme}{separator}{f'{MASK}@' if '@' in url else ''}{rest}"


def url_secrets(url: str) -> Iterator[str]:
    """Yield the secrets in the URL of a server: its password, or the user name if there is none; values of its query.

    >>> list(url_secrets("http://alice:p%40ss@localhost/v1?api-key=1234"))
    ['alice:p%40ss', 'p%40ss', 'p@ss', '1234']
    """
    rest = url.partition("://")[2] or url
    user_info, at, _ = rest.rpartition("@")
    if at:
        user, _, password = user_info.partition(":")
        yield user_info
        yield password or user
        yield unquote(password or user)
    try:
        query = urlsplit(url).query
    except ValueError:
        return
    for field in query.split("&"):
        value = field.partition("=")[2]
        if value:
            yield value


def header_secrets(headers: Mapping[str, Any]) -> Iterator[str]:
    """Yield the secrets in the headers of a request, such as the token of `Authorization: Bearer ...`.

    >>> list(header_secrets({"Authorization": "Bearer abc", "Accept": "*/*"}))
    ['abc']
    """
    for name, value in headers.items():
        if isinstance(value, str) and _SECRET_NAME.search(name):
            yield value.rpartition(" ")[2]


class Redactor:
    """Replaces known secrets by `***`, as they are or encoded as in URLs, JSON or HTML.

    Parts of a secret are replaced as well: at least half of it, or 12 characters in a row. Case is ignored.

    >>> redactor = Redactor(["sk-0123456789abcdef"])
    >>> redactor.text("Incorrect API key: sk-0123456789abcdef. Keys that begin with sk-0123456789 have expired.")
    'Incorrect API key: ***. Keys that begin with *** have expired.'
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {
            form.lower()
            for secret in secrets
            if len(secret) >= _SHORTEST and secret.lower() not in _PLACEHOLDERS
            for form in _forms(secret)
        }
        words = sorted((form for form in forms if len(form) < _LONG), key=len, reverse=True)
        self._words = (
            re.compile(rf"(?<![^\W_])(?:{'|'.join(map(re.escape, words))})(?![^\W_])", re.I) if words else None
        )
        self._parts: set[str] = set()
        for form in forms:
            if len(form) >= _LONG:
                length = max(_LONG, min(12, len(form) // 2))
                self._parts.update(form[at : at + length] for at in range(len(form) - length + 1))

    def text(self, text: str) -> str:
        """Return `text` with each secret, and the user information of each URL, replaced by `***`."""
        text = without_user_info(text)
        if self._words is not None:
            text = self._words.sub(MASK, text)
        return self._without_parts(text)

    def _without_parts(self, text: str) -> str:
        lower = text.lower()
        if len(lower) != len(text):  # a letter like "İ" has two characters in lower case
            lower = "".join(char if len(char.lower()) != 1 else char.lower() for char in text)
        spans = []
        for part in self._parts:
            at = lower.find(part)
            while at >= 0:
                spans.append((at, at + len(part)))
                at = lower.find(part, at + 1)
        pieces: list[str] = []
        end = 0
        for first, last in sorted(spans):
            if first > end or not pieces:
                pieces += [text[end:first], MASK]
            end = max(end, last)
        return "".join([*pieces, text[end:]])

    def error(self, error: BaseException) -> None:
        """Replace the secrets in an error in place: in its arguments, attributes and notes, and in those of its causes.

        The objects of the request and the response, which errors of the `openai` package carry, stay as they are.
        """
        pending: list[BaseException | None] = [error]
        done: set[int] = set()
        while pending:
            error_or_none = pending.pop()
            if error_or_none is None or id(error_or_none) in done:
                continue
            current = error_or_none
            done.add(id(current))
            current.args = self._plain(current.args)
            for name, value in list(vars(current).items()):
                setattr(current, name, self._plain(value))
            pending += [current.__cause__, current.__context__, *getattr(current, "exceptions", ())]

    def _plain(self, value: Any) -> Any:
        """Return a plain value with the secrets in its texts replaced. Other objects are returned unchanged."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self._plain(key): self._plain(item) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self._plain(item) for item in value)
        return value


def _forms(secret: str) -> set[str]:
    """Return the forms in which a secret may be repeated."""
    escaped = json.dumps(secret)[1:-1]
    unescaped = json.dumps(secret, ensure_ascii=False)[1:-1]
    return {
        secret,
        escaped,
        unescaped,
        escaped.replace("/", "\\/"),
        html.escape(secret),
        html.escape(secret, quote=False),
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
    }
