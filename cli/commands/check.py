"""`localstore check`: read every file of a store and say what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from .. import output
from ..errors import FINDINGS
from ..store import find_store, store_option

if TYPE_CHECKING:
    from localstore.findings import Finding


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON array.")
@store_option
def command(as_json: bool, store: str | None) -> None:
    """Read every file of the store and say what is wrong and what to do. Changes nothing.

    Each finding is one line: where, whether it is an error or a note, what is wrong, what to do. With errors the
    exit code is 1; notes alone leave it 0.
    """
    from localstore.checking import check

    root = find_store(store)
    found: list[Finding] = []
    sessions = 0

    def findings() -> Iterator[Finding]:
        nonlocal sessions
        sessions = yield from check(root)

    show = _line_for_person() if output.to_terminal() else _line
    for finding in findings():
        found.append(finding)
        if not as_json:
            show(finding)
    errors = sum(finding.severity == "error" for finding in found)
    summary = f"{_count(sessions, 'session')}, {_summary(errors, len(found) - errors)}"
    if as_json:
        output.write_json([finding.as_dict() for finding in found])
    elif found and not output.to_terminal():
        output.note(summary)
    else:
        output.write(f"{summary}\n")
    if errors:
        click.get_current_context().exit(FINDINGS)


def _line(finding: Finding) -> None:
    output.write_rows([(finding.place, finding.severity, finding.problem, finding.advice)])


def _line_for_person() -> Callable[[Finding], None]:
    from rich.text import Text

    screen = output.console()
    colours = {"error": "bold red", "note": "yellow"}

    def show(finding: Finding) -> None:
        screen.print(
            Text.assemble(
                (output.one_line(finding.place), "bold"),
                " ",
                (finding.severity, colours[finding.severity]),
                f" {output.one_line(finding.problem)}. ",
                (output.one_line(finding.advice), "dim"),
            )
        )

    return show


def _summary(errors: int, notes: int) -> str:
    counts = [_count(number, word) for number, word in ((errors, "error"), (notes, "note")) if number]
    return ", ".join(counts) or "no findings"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
