"""`localstore check`: read every file of a store and say what is wrong; mend it with `--repair`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from .. import output
from ..errors import FINDINGS
from ..store import find_store, store_option

if TYPE_CHECKING:
    from localstore.maintenance.finding import Finding


@click.command()
@click.option("--repair", is_flag=True, help="Mend what can be mended, and say what was done.")
@click.option("--dry-run", is_flag=True, help="With --repair: only say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON array.")
@store_option
def command(repair: bool, dry_run: bool, as_json: bool, store: str | None) -> None:
    """Read every file of the store and say what is wrong and what to do. Changes nothing without --repair.

    Each finding is one line: where, whether it is an error or a note, what is wrong, what to do. With errors the
    exit code is 1; notes alone leave it 0.

    --repair mends what crashes and copies leave: torn documents, the manifest, temporary files, permissions, and a
    session_id that two documents have. A line that says `repair` says what was done; the lines after it, and the exit
    code, are about what is left. Nothing is deleted: see what was set aside with 'localstore rescue'.
    """
    if dry_run and not repair:
        raise click.UsageError("--dry-run goes with --repair", click.get_current_context())
    root = find_store(store)
    found: list[Finding] = []
    sessions = 0

    def findings() -> Iterator[Finding]:
        nonlocal sessions
        if repair:
            from localstore.maintenance.repair import repair as mend

            sessions = yield from mend(root, dry_run=dry_run)
        else:
            from localstore.maintenance.check import check

            sessions = yield from check(root)

    show = _line_for_person() if output.to_terminal() else _line
    for finding in findings():
        found.append(finding)
        if not as_json:
            show(finding)
    summary = f"{_count(sessions, 'session')}, {_summary(found, dry_run)}"
    if as_json:
        output.write_json([finding.as_dict() for finding in found])
    elif found and not output.to_terminal():
        output.note(summary)
    else:
        output.write(f"{summary}\n")
    mendable = 0 if repair else sum(finding.kind is not None for finding in found)
    if mendable and not as_json:
        output.note(f"'localstore check --repair' mends {_count(mendable, 'finding')}; add --dry-run to see how.")
    if any(finding.severity == "error" for finding in found):
        click.get_current_context().exit(FINDINGS)


def _line(finding: Finding) -> None:
    output.write_rows([(finding.place, finding.severity, finding.problem, finding.advice)])


def _line_for_person() -> Callable[[Finding], None]:
    from rich.text import Text

    screen = output.console()
    colours = {"error": "bold red", "note": "yellow", "repair": "bold green"}

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


def _summary(found: list[Finding], dry_run: bool) -> str:
    number = {word: sum(finding.severity == word for finding in found) for word in ("repair", "error", "note")}
    counts = [_count(number[word], word) for word in ("error", "note") if number[word]]
    if number["repair"]:
        counts.insert(0, f"{number['repair']:,} to repair" if dry_run else f"{number['repair']:,} repaired")
    return ", ".join(counts) or "no findings"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
