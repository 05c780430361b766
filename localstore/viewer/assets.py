"""The files that the pages refer to: the style sheet, the scripts and the icon."""

from functools import lru_cache
from importlib.resources import files

from localstore.exporting.html_style import STYLE

TYPES = {
    "style.css": "text/css; charset=utf-8",
    "viewer.js": "text/javascript; charset=utf-8",
    "site.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "htmx.LICENSE.txt": "text/plain; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The media type of each file."""


@lru_cache
def asset(name: str) -> bytes:
    """Return the content of a file. The style sheet is that of exported pages, and what only the pages here need."""
    content = files("localstore.viewer").joinpath("static", name).read_bytes()
    return STYLE.encode() + content if name == "style.css" else content
