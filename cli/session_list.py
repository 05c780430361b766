"""The list of the picker: which sessions it shows, and what its lines look like. Nothing here touches the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len

from localstore.models.times import time_text

from .cells import elided, padded
from .local_times import when
from .output import one_line
from .session_table import marks_of

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo

_WITH_ID, _WITH_USER = 60, 90
"""From how many columns on a line has the id and the user too."""
_TIME, _USER = 10, 12
"""The widths of these columns."""
_ID_SHARE = 3
"""An id gets at most this part of the width: a longer one is shown with `…` for its middle."""
_BEFORE, _GAP = 4, 2
"""How many columns are before the title, and between two texts."""
_ABOVE = 2
"""How many lines stand above the sessions."""
_KEYS = "↑ ↓ move, Enter chooses, Esc leaves"


ShortIds = Callable[[Sequence[str]], Mapping[str, str]]
"""Returns what to show for the ids of some sessions: a beginning of each that names the session alone."""


class Frame(NamedTuple):
    """What the terminal shows: lines that fit, which of them is selected, if any, and the column of the cursor."""

    lines: list[str]
    selected: int | None
    cursor: int


class SessionList:
    """Sessions in the order in which they were added, those that have all the words that were typed.

    The words are found in title, id, user, entity and tags, in upper or lower case.
    """

    def __init__(self, short_ids: ShortIds) -> None:
        self._short_ids = short_ids
        self.is_complete = False
        self._typed = ""
        self._all: list[SessionInfo] = []
        self._texts: list[str] = []
        self._found: list[SessionInfo] = []
        self._selected = self._top = 0
        self._height = 1

    def add(self, infos: Iterable[SessionInfo]) -> None:
        """Add sessions at the end."""
        added = list(infos)
        texts = [_text_of(info) for info in added]
        self._all += added
        self._texts += texts
        self._found += self._matching(added, texts)

    def _matching(self, infos: list[SessionInfo], texts: list[str]) -> list[SessionInfo]:
        words = self._typed.casefold().split()
        return [info for info, text in zip(infos, texts, strict=True) if all(word in text for word in words)]

    @property
    def selected(self) -> SessionInfo | None:
        """The selected session; None if no session has the words."""
        return self._found[self._selected] if self._found else None

    def press(self, key: str) -> None:
        """Do what a key or a typed character does."""
        page = max(1, self._height - 1)
        end = len(self._found)
        moves = {"up": -1, "down": 1, "page up": -page, "page down": page, "home": -end, "end": end}
        if key in moves:
            self._selected = max(0, min(end - 1, self._selected + moves[key]))
            return
        match key:
            case "backspace":
                typed = self._typed[:-1]
            case "word":
                typed = self._typed.rstrip().rpartition(" ")[0]
            case "clear":
                typed = ""
            case character if len(character) == 1:
                typed = self._typed + character
            case _:
                return
        self._typed = typed
        self._found = self._matching(self._all, self._texts)
        self._selected = self._top = 0

    def frame(self, width: int, height: int) -> Frame:
        """Return what a terminal of this size shows."""
        self._height = max(1, height - _ABOVE)
        self._top = max(self._selected - self._height + 1, min(self._top, self._selected))
        shown = self._found[self._top : self._top + self._height]
        typed = f"> {self._typed}"
        count = f"{len(self._found):,} of {len(self._all):,}{'' if self.is_complete else '…'}"
        lines = [padded(typed, width), padded(f"  {count}  {_KEYS}", width)]
        lines += lines_of(shown, self._short_ids, width)
        selected = self._selected - self._top + _ABOVE if shown else None
        return Frame(lines[:height], selected, min(cell_len(typed), width))


def _text_of(info: SessionInfo) -> str:
    words = (info.title, info.session_id, info.user_id, info.entity_id, *info.tags)
    return "\n".join(filter(None, words)).casefold()


def lines_of(infos: Sequence[SessionInfo], short_ids: ShortIds, width: int) -> list[str]:
    """Return a line for each session: a mark for how it ended, the title, and what there is room for."""
    ids = [""] * len(infos)
    if width >= _WITH_ID:
        short = short_ids([info.session_id for info in infos])
        ids = [elided(one_line(short[info.session_id]), width // _ID_SHARE) for info in infos]
    longest = max(map(cell_len, ids), default=0)
    return [_line(*one, longest, width) for one in zip(infos, marks_of(infos), ids, strict=True)]


def _line(info: SessionInfo, mark: str, short_id: str, longest: int, width: int) -> str:
    """Return the line of a session. `longest` is the width of the column of the ids; 0 leaves it out."""
    cells = [(short_id, longest)] if longest else []
    cells.append(("" if info.updated_at is None else when(time_text(info.updated_at)), _TIME))
    cells += [(one_line(info.user_id or ""), _USER)] if width >= _WITH_USER else []
    room = max(1, width - _BEFORE - sum(_GAP + size for _, size in cells))
    texts = [padded(text, size) for text, size in [(one_line(info.title or "-"), room), *cells]]
    return f"  {padded(mark, 1)} {(' ' * _GAP).join(texts)}"
