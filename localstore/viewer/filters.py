"""The filter bar: from the values of an address to a filter, and back to a form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from localstore.exporting.html_text import escaped
from localstore.models.filter import ARCHIVED, STATUSES, Filter
from localstore.models.schema import KINDS, RATINGS
from localstore.models.session_info import SORT_KEYS, SortKey
from localstore.viewer.frame import FILTERS, View

_TEXTS = {
    "user": "User",
    "entity": "Agent, team or workflow",
    "name": "Name",
    "model": "Model",
    "tag": "Tag",
    "part_of": "Part of",
}
_CHOICES: dict[str, tuple[str, Sequence[str]]] = {
    "status": ("Last run", STATUSES),
    "kind": ("Kind", KINDS),
    "rating": ("Rating", RATINGS),
}
_TIMES = {"since": "Active since", "until": "Active until"}
NAMES = ("q", *_TEXTS, *_CHOICES, *_TIMES, "archived", "sort")
"""The values of a filter in an address."""


@dataclass(frozen=True, slots=True)
class Query:
    """What somebody asked for: a search, a filter and an order."""

    given: Mapping[str, str]
    where: Filter
    problem: str = ""
    """Why the filter cannot be used; it selects everything then."""

    @property
    def text(self) -> str:
        """The words to search for."""
        return self.given.get("q", "").strip()

    @property
    def sort(self) -> SortKey:
        """The order of a listing."""
        sort = self.given.get("sort", "updated")
        return sort if sort in SORT_KEYS else "updated"

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The values for an address."""
        return [(name, value) for name in NAMES if (value := self.given.get(name))]


def read_query(pairs: Iterable[tuple[str, str]]) -> Query:
    """Return what the values of an address ask for. Unknown ones are ignored, and of several the last one counts."""
    given = {name: value.strip() for name, value in pairs if name in NAMES and value.strip()}
    fields = {name: value for name, value in given.items() if name not in ("q", "archived", "sort")}
    archived = None if "archived" in given or fields.get("tag") == ARCHIVED else False
    try:
        return Query(given, _without_sub_sessions(Filter(**{**fields, "archived": archived})))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        return Query(given, _without_sub_sessions(Filter(archived=archived)), str(error))


def number_in(text: str) -> int | None:
    """Return the whole number that a value of an address is, or None."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 15 else None


def time_in(text: str) -> float | None:
    """Return the seconds since 1970 that a value of an address is, or None."""
    return float(text) if re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", text) else None


def _without_sub_sessions(where: Filter) -> Filter:
    """Return the filter of a list: sub-sessions stand with the session that they belong to."""
    return where if where.part_of else replace(where, sub_sessions=False)


def filter_bar(view: View, query: Query, page: str, *, has_search: bool = True) -> str:
    """Return the form of a filter. It works without JavaScript; with it, the results follow what is typed."""
    live = (
        f' hx-get="{escaped(view.links.page(page))}" hx-target="#results" hx-push-url="true" hx-sync="this:replace"'
        ' hx-trigger="submit, input delay:150ms"'
    )
    search = (
        '<label class="search"><span>Search</span><input type="search" name="q" id="q" autocomplete="off" '
        f'placeholder="Words that were said, names, tags" value="{escaped(query.given.get("q", ""))}"></label>'
        if has_search
        else ""
    )
    shown = [_choice(query, "status"), _text(query, "since", _TIMES["since"], "7d or 2026-11-01")]
    if has_search:
        options = "".join(_option(key, key, query.sort) for key in SORT_KEYS)
        shown.append(f'<label><span>Sort by</span><select name="sort">{options}</select></label>')
    checked = " checked" if "archived" in query.given else ""
    more = [
        *(_text(query, name, label) for name, label in _TEXTS.items()),
        _choice(query, "kind"),
        _choice(query, "rating"),
        _text(query, "until", _TIMES["until"], "yesterday or 2026-11-01"),
        f'<label class="check"><input type="checkbox" name="archived" value="1"{checked}><span>Archived</span></label>',
    ]
    hidden = ("status", "since", "sort", "q")
    number = sum(name not in hidden for name in query.given)
    opened = " open" if number else ""
    label = f"More filters ({number})" if number else "More filters"
    return (
        f'<search><form class="filters" id="{FILTERS}" method="get" action="{escaped(view.links.page(page))}"{live}>'
        f'<div class="row">{search}{"".join(shown)}<button>Show</button></div>'
        f'<details class="plain"{opened}><summary>{label}</summary><div class="row">{"".join(more)}</div></details>'
        "</form></search>\n"
    )


def _text(query: Query, name: str, label: str, hint: str = "") -> str:
    placeholder = f' placeholder="{hint}"' if hint else ""
    value = escaped(query.given.get(name, ""))
    return f'<label><span>{label}</span><input name="{name}" value="{value}"{placeholder} autocomplete="off"></label>'


def _choice(query: Query, name: str) -> str:
    label, values = _CHOICES[name]
    chosen = query.given.get(name, "")
    options = _option("", "any", chosen) + "".join(_option(value, value, chosen) for value in values)
    return f'<label><span>{label}</span><select name="{name}">{options}</select></label>'


def _option(value: str, label: str, chosen: str) -> str:
    selected = " selected" if value == chosen else ""
    return f'<option value="{escaped(value)}"{selected}>{escaped(label)}</option>'
