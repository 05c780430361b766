"""The files that the pages refer to: the style sheet, the scripts and the icon."""

from functools import lru_cache
from pathlib import Path

from localstore.exporting.html_style import STYLE

_FOLDER = Path(__file__).parent / "static"
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
    content = (_FOLDER / name).read_bytes()
    return STYLE.encode() + content if name == "style.css" else content
