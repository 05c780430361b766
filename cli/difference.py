"""Prints how a session differs from another one: side by side on a wide terminal, otherwise as a unified diff."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from localstore.format.line_changes import LineChange, line_changes, with_context
from localstore.storage.plain_session import plain_question

from . import output
from .transcript import Transcript, compact

if TYPE_CHECKING:
    from localstore.storage.comparing import Difference, Pair

WIDE = 100
"""The minimum width of a terminal, in columns, for printing the sessions side by side."""
_CONTEXT = 3
_MOST_QUESTION = 60
_ROWS = 100
"""How many rows are drawn at once."""
_HIDDEN = ("run_id", "replay_of", "created_at", "metrics", "tool_call_id")
"""Keys of runs and steps that are not compared."""


class Hunk(NamedTuple):
    """Lines that changed, with some lines around them. `heading` names the run or the entry that they are from."""

    heading: str
    old: list[str]
    new: list[str]
    changes: list[LineChange]


def hunks(difference: Difference) -> Iterator[Hunk]:
    """Yield all that differs, in the order of the session."""
    if difference.header:
        values = difference.header.items()
        old = [output.one_line(f"{name}  {compact(value)}") for name, (value, _) in values if value is not None]
        new = [output.one_line(f"{name}  {compact(value)}") for name, (_, value) in values if value is not None]
        yield from _grouped("header", old, new)
    for pair in difference.entries:
        old, new = _lines(pair.old), _lines(pair.new)
        if old == new:  # they differ in what is not shown, such as a text in one part or in none
            old, new = _fields(pair.old, pair), _fields(pair.new, pair)
        yield from _grouped(_heading(pair), old, new)


def _grouped(heading: str, old: list[str], new: list[str]) -> Iterator[Hunk]:
    for group in with_context(line_changes(old, new), _CONTEXT):
        yield Hunk(heading, old, new, group)


def _heading(pair: Pair) -> str:
    """Return what an entry is, what happened to it, and the beginning of its question."""
    entry: dict[str, Any] = pair.new or pair.old or {}
    numbers = [number for number in (pair.old_number, pair.new_number) if number is not None]
    name = f"run {numbers[0]}" if numbers else compact(entry["type"])
    if pair.new is None:
        name += " removed"
    elif pair.old is None:
        name += " added"
    elif numbers[1:] != numbers[:1]:
        name += f", now run {numbers[1]}"
    question = " ".join(plain_question(entry).split()) if numbers else ""
    question = question if len(question) <= _MOST_QUESTION else f"{question[:_MOST_QUESTION]}…"
    return output.one_line(f"{name}  {question}".rstrip())


def _lines(entry: dict[str, Any] | None) -> list[str]:
    """Return an entry as `show` prints it into a pipe, without what is not compared."""
    if entry is None:
        return []
    pieces = Transcript(person=False, fold=False).entry(_shown(entry))
    return [
        f"{' ' * piece.indent}{line}" if line else ""
        for piece in pieces
        for line in output.lines(piece.text).split("\n")
    ]


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in record.items() if name not in _HIDDEN}
    for name in ("member_runs", "steps"):
        if isinstance(shown.get(name), list):
            shown[name] = [_shown(item) for item in shown[name]]
    return shown


def _fields(entry: dict[str, Any] | None, pair: Pair) -> list[str]:
    text = output.json_text({name: value for name, value in (entry or {}).items() if name in pair.fields})
    return text.rstrip("\n").split("\n")


def print_difference(difference: Difference, old: str, new: str, *, wants_pager: bool) -> None:
    """Print a difference of the sessions with these names: to a terminal or its pager, or to a pipe."""
    if not output.to_terminal():
        for line, _ in unified(hunks(difference), old, new):
            output.write(f"{line}\n")
        return
    from rich.text import Text

    from .pager import paged

    with paged(wanted=wants_pager) as screen:
        if screen.width >= WIDE:
            _print_columns(screen, hunks(difference), old, new)
        else:
            for line, style in unified(hunks(difference), old, new):
                screen.print(Text(line, style))


def unified(changed: Iterable[Hunk], old: str, new: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of a unified diff, each with its style. In place of line numbers, it names the runs."""
    yield f"--- {output.one_line(old)}", "bold"
    yield f"+++ {output.one_line(new)}", "bold"
    for hunk in changed:
        yield f"@@ {hunk.heading} @@", "cyan"
        for tag, i, j, k, n in hunk.changes:
            if tag == "equal":
                yield from ((f" {line}", "") for line in hunk.old[i:j])
                continue
            yield from ((f"-{line}", "red") for line in hunk.old[i:j])
            yield from ((f"+{line}", "green") for line in hunk.new[k:n])


def _print_columns(screen: Any, changed: Iterable[Hunk], old: str, new: str) -> None:
    """Print hunks in two columns, some rows at a time: the first ones can be read while the others are drawn."""
    from rich.table import Table
    from rich.text import Text

    def print_rows(rows: Iterable[tuple[Text, Text]]) -> None:
        rows = iter(rows)
        while part := list(islice(rows, _ROWS)):
            table = Table.grid(padding=(0, 2, 0, 0), expand=True)
            for _ in range(2):
                table.add_column(ratio=1, overflow="fold")
            for row in part:
                table.add_row(*row)
            screen.print(table)

    def rows_of(hunk: Hunk) -> Iterator[tuple[Text, Text]]:
        for tag, i, j, k, n in hunk.changes:
            marks, styles = ("  ", ("", "")) if tag == "equal" else ("-+", ("red", "green"))
            for before, after in zip_longest(hunk.old[i:j], hunk.new[k:n]):
                yield (
                    Text("" if before is None else f"{marks[0]} {before}", styles[0]),
                    Text("" if after is None else f"{marks[1]} {after}", styles[1]),
                )

    print_rows([(Text(f"  {output.one_line(old)}", "bold"), Text(f"  {output.one_line(new)}", "bold"))])
    for hunk in changed:
        screen.print()
        screen.print(Text(hunk.heading, "bold cyan"))
        print_rows(rows_of(hunk))
