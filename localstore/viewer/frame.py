"""The frame of every page: head, navigation, notices. All text is escaped here or by whoever made the body."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from localstore.exporting.html_text import escaped
from localstore.viewer.links import Links

FILTERS, AGAIN = "filters", "again"
"""The ids of what loads the results alone: the form of the filter, and `load_again`."""
HTMX_CONFIG = (
    '{"includeIndicatorStyles":false,"allowEval":false,"allowScriptTags":false,"selfRequestsOnly":true,'
    '"historyCacheSize":0,"refreshOnHistoryMiss":true,"scrollIntoViewOnBoost":false}'
)


@dataclass(frozen=True, slots=True)
class View:
    """What all pages of one answer share."""

    links: Links = field(default_factory=Links)
    store: str = ""
    """The name of the store."""
    csrf: str = ""
    """The token that forms send along."""
    may_change: bool = False
    """Whether the page offers changes of the sessions."""
    is_static: bool = False
    """Whether the page is a file: there is no server to ask."""
    has_dashboard: bool = True
    scripts: tuple[str, ...] = ("htmx.min.js", "viewer.js")


def page(
    view: View,
    title: str,
    body: Iterable[str],
    *,
    place: str = "",
    notice: str = "",
    attributes: str = "",
    policy: str = "",
) -> str:
    """Return a whole page.

    Args:
        view: What all pages share.
        title: Its title, as text.
        body: The HTML of its main part.
        place: The page of the navigation that it is: "", "dashboard" or "problems".
        notice: HTML that is shown at the top and read out.
        attributes: Attributes of the `body` element.
        policy: A content security policy, for a page that has no server to send one.
    """
    links = view.links
    places = {"": "Sessions"}
    places |= {"dashboard": "Dashboard"} if view.has_dashboard else {}
    places |= {} if view.is_static else {"problems": "Problems"}
    navigation = "".join(
        f'<a href="{escaped(links.page(name))}"{" aria-current=page" if name == place else ""}>{label}</a>'
        for name, label in places.items()
    )
    scripts = "".join(f'<script src="{escaped(links.asset(name))}" defer></script>\n' for name in view.scripts)
    csp = f'<meta http-equiv="Content-Security-Policy" content="{escaped(policy)}">\n' if policy else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'{csp}<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<meta name=\"htmx-config\" content='{HTMX_CONFIG}'>\n"
        f"<title>{escaped(' '.join(title.split()))} · localstore</title>\n"
        f'<link rel="icon" href="{escaped(links.asset("icon.svg"))}">\n'
        f'<link rel="stylesheet" href="{escaped(links.asset("style.css"))}">\n{scripts}</head>\n'
        f'<body class="viewer"{attributes}>\n<a class="skip" href="#main">Skip to the content</a>\n'
        f'<header class="top"><nav aria-label="Pages"><a class="brand" href="{escaped(links.page(""))}">localstore</a>'
        f'{navigation}</nav><span class="store" title="The store"><bdi>{escaped(view.store)}</bdi></span></header>\n'
        f'<main id="main" tabindex="-1">\n<div id="notice" role="status">{notice}</div>\n{"".join(body)}</main>\n'
        f"{'' if view.is_static else _KEYS}</body>\n</html>\n"
    )


def load_again(address: str) -> str:
    """Return an element that soon loads the results of the page again, unless somebody changes the filter."""
    return (
        f'<span id="{AGAIN}" hx-get="{escaped(address)}" hx-trigger="load delay:1s" hx-target="#results" '
        'hx-sync="#filters:abort"></span>'
    )


_KEYS = (
    '<dialog id="keys" aria-labelledby="keys-title"><h2 id="keys-title">Keys</h2><table><tbody>'
    + "".join(
        f"<tr><th scope=row>{keys}</th><td>{what}</td></tr>"
        for keys, what in (
            ("<kbd>/</kbd>", "Search"),
            ("<kbd>j</kbd> <kbd>k</kbd>", "Next and previous session or run"),
            ("<kbd>Enter</kbd>", "Open the session, or unfold everything in the run"),
            ("<kbd>r</kbd>", "Rate the run"),
            ("<kbd>u</kbd>", "Back to the sessions"),
            ("<kbd>g</kbd> <kbd>G</kbd>", "First and last"),
            ("<kbd>?</kbd>", "Show these keys"),
        )
    )
    + "</tbody></table><form method=dialog><button>Close</button></form></dialog>\n"
)


def moment(time: datetime | None) -> str:
    """Return a time as HTML: how long ago it was, with the local date and time as a tooltip."""
    if time is None:
        return ""
    local = time.astimezone()
    return (
        f'<time datetime="{time:%Y-%m-%dT%H:%M:%SZ}" title="{local:%Y-%m-%d %H:%M:%S}">'
        f"{escaped(ago((datetime.now(UTC) - time).total_seconds(), local))}</time>"
    )


def ago(seconds: float, local: datetime) -> str:
    """Return how long ago something was, or its date if that is more than six days.

    >>> ago(90, datetime(2026, 11, 22)), ago(864000, datetime(2026, 11, 22))
    ('1 min ago', '2026-11-22')
    """
    if seconds < 60:
        return "just now" if seconds > -600 else f"{local:%Y-%m-%d}"
    for unit, name, most in ((60, "min", 60), (3600, "h", 24), (86400, "d", 7)):
        if seconds < unit * most:
            return f"{seconds // unit:.0f} {name} ago"
    return f"{local:%Y-%m-%d}"
