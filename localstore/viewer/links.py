"""The addresses of the pages, on a server and in a folder of static files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode


@dataclass(frozen=True, slots=True)
class Links:
    """The addresses of an app that is mounted below `base`.

    >>> Links().session("a/b")
    '/session?id=a%2Fb'
    """

    base: str = ""

    def page(self, name: str, **query: str | int | None) -> str:
        """Return the address of a page. Values that are None or "" are left out."""
        return self.query(name, [(key, str(value)) for key, value in query.items() if value not in (None, "")])

    def query(self, name: str, pairs: list[tuple[str, str]]) -> str:
        """Return the address of a page with these values, of which some may occur several times."""
        text = urlencode(pairs, quote_via=quote, safe="")
        return f"{self.base}/{name}{'?' if text else ''}{text}"

    def session(self, session_id: str, anchor: str = "", *, before: int | None = None) -> str:
        """Return the address of a session, or of the run with an anchor in it."""
        return self.page("session", id=session_id, before=before) + (f"#{anchor}" if anchor else "")

    def asset(self, name: str) -> str:
        """Return the address of a file in the folder `static`."""
        return f"{self.base}/static/{name}"


@dataclass(frozen=True, slots=True)
class SiteLinks(Links):
    """The addresses in a folder of static files, relative to the page that has them."""

    files: Mapping[str, str] = field(default_factory=dict)
    """The file of each session that is in the folder."""

    def query(self, name: str, pairs: list[tuple[str, str]]) -> str:
        words = urlencode([("q", " ".join(value for _, value in pairs))], quote_via=quote) if pairs else ""
        return f"{self.base}{name or 'index'}.html{'#' if words else ''}{words}"

    def session(self, session_id: str, anchor: str = "", *, before: int | None = None) -> str:  # noqa: ARG002
        return f"{self.base}{self.files[session_id]}" + (f"#{anchor}" if anchor else "")

    def asset(self, name: str) -> str:
        return f"{self.base}static/{name}"
