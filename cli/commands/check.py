"""`localstore check`: check every file of a store, and repair it with `--repair`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import click

from localstore.models.figures import counted

from .. import output
from ..errors import FINDINGS
from ..store_option import database_of, find_store, store_option

if TYPE_CHECKING:
    from localstore.maintenance.finding import Finding


class Findings(Protocol):
    """The findings of a check, and how many sessions were checked."""

    @property
    def sessions(self) -> int: ...

    def __iter__(self) -> Iterator[Finding]: ...


@click.command()
@click.option("--repair", is_flag=True, help="Repair what can be repaired, and report it.")
@click.option("--dry-run", is_flag=True, help="With --repair: only show what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON array.")
@store_option
def command(repair: bool, dry_run: bool, as_json: bool, store: str | None) -> None:
    """Check every file of the store, or every session in a database. Without --repair, nothing is changed.

    On a terminal, the findings of each file stand below its path: whether it is an error or a note, the problem, and
    what to do. In a pipe, each finding is one line: file, error or note, problem and what to do, separated by tabs. If
    there are errors, the exit code is 1.

    --repair fixes what crashes, copies and git leave behind: incomplete documents, the manifest, temporary files,
    permissions, copies of sessions and merge conflicts, of which both sides are united. Lines marked `repair` report
    repairs; the lines after them and the exit code are about the remaining problems. Nothing is deleted: 'localstore
    rescue' lists removed files.
    """
    if dry_run and not repair:
        raise click.UsageError("--dry-run needs --repair", click.get_current_context())
    from localstore.maintenance.check import check as check_store
    from localstore.maintenance.repair import repair as repair_store

    database = None if repair else database_of(store)
    if database is not None:
        findings: Findings = database.check()
    else:
        root = find_store(store, "--repair" if repair else "")
        findings = repair_store(root, dry_run=dry_run) if repair else check_store(root)
    printed: list[Finding] = []
    show = _printer_for_person() if output.to_terminal() else _line
    for finding in findings:
        printed.append(finding)
        if not as_json:
            show(finding)
    summary = f"{counted(findings.sessions, 'session')}, {_summary(printed, dry_run)}"
    if as_json:
        output.write_json([finding.as_dict() for finding in printed])
    elif printed and not output.to_terminal():
        output.note(summary)
    else:
        output.write(f"{summary}\n")
    repairable = 0 if repair else sum(finding.kind is not None for finding in printed)
    if repairable and not as_json:
        output.note(f"'localstore check --repair' repairs {counted(repairable, 'finding')}; add --dry-run to see how.")
    if any(finding.severity == "error" for finding in printed):
        click.get_current_context().exit(FINDINGS)


def _line(finding: Finding) -> None:
    output.write_rows([(finding.place, finding.severity, finding.problem, finding.advice)])


def _printer_for_person() -> Callable[[Finding], None]:
    """Return a function that prints a finding below its file, which is named once for all findings that follow."""
    from ..pieces import Piece, Printer

    print_pieces = Printer(output.console())
    colours = {"error": "bold red", "note": "yellow", "repair": "bold green"}
    last = ""

    def show(finding: Finding) -> None:
        nonlocal last
        if finding.place != last:
            print_pieces([Piece(output.one_line(finding.place), 0, "bold")])
            last = finding.place
        problem = Piece(f"{finding.severity}: {output.one_line(finding.problem)}.", 2, colours[finding.severity])
        print_pieces([problem, Piece(output.one_line(finding.advice), 4)])

    return show


def _summary(findings: list[Finding], dry_run: bool) -> str:
    number = {word: sum(finding.severity == word for finding in findings) for word in ("repair", "error", "note")}
    counts = [counted(number[word], word) for word in ("error", "note") if number[word]]
    if number["repair"]:
        counts.insert(0, f"{number['repair']:,} to repair" if dry_run else f"{number['repair']:,} repaired")
    return ", ".join(counts) or "no findings"
