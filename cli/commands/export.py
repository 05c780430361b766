"""`localstore export`: sessions as Markdown, HTML, JSON, or lines for fine-tuning."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from .. import output
from ..errors import FINDINGS
from ..store import open_store, store_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localstore.models.session import Run, Session

    from ..exported import Reading

FORMATS = ("markdown", "html", "json", "openai-jsonl")


def _since(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    """The moment; a date is its beginning here, and a time without a zone is local."""
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter("Give a date such as 2026-11-22, or a time such as 2026-11-22T07:00") from None


@click.command()
@click.argument("sessions", metavar="[SESSION]...", nargs=-1)
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="What to write.")
@click.option("--output", "file", metavar="FILE", help="Write to FILE, which must not exist, instead of printing.")
@click.option("--force", is_flag=True, help="Replace FILE when it exists.")
@click.option("--user", metavar="ID", help="Export only sessions of this user.")
@click.option(
    "--tag", "tags", metavar="TAG", multiple=True, help="Export only sessions with this tag; with all, if several."
)
@click.option("--since", metavar="DATE", callback=_since, help="Export only sessions with activity since then.")
@click.option("--rating", type=click.Choice(["good", "bad"]), help="Export only runs with this rating.")
@store_option
def command(**given: Any) -> None:
    """Write sessions in a form for other uses. Without SESSION and filters, all of the store.

    SESSION is an id, a name, or the beginning of an id that no other one shares. Filters combine. Sessions come with
    the newest activity first, or as they are named.

    \b
    markdown      the conversations, to paste into a chat, an issue or a wiki
    html          one page to read or print, that needs no network
    json          an array of whole documents, whatever their own format
    openai-jsonl  examples to fine-tune a model: a line for each session with
                  all its completed runs; with --rating a line for each run

    Lines for fine-tuning hold no definitions of tools: documents do not have them. A run that is no complete example
    is left out and named.

    What cannot be read is named and left out, and the exit code is 1. FILE is written as a whole or not at all, for
    nobody else to read.
    """
    context = click.get_current_context()
    file = None if given["file"] == "-" else given["file"]
    if given["force"] and file is None:
        raise click.UsageError("--force goes with --output FILE", context)
    if file == "":
        raise click.UsageError("FILE is empty", context)
    from ..exported import Reading, chosen, deliver, refuse_existing

    if file is not None:
        refuse_existing(file, given["force"])
    storage = open_store(given["store"])
    named = given["sessions"]
    reading = Reading(storage, chosen(storage, named, given["user"], given["tags"], given["since"]), given["rating"])
    if not named:
        for path, problem in storage.unreadable_files().items():
            reading.problem(f"{path}: {problem}")
    deliver(_parts(given["form"], reading, per_run=given["rating"] is not None), file, given["force"])
    if not reading.read:
        filtered = named or any(given[name] for name in ("user", "tags", "since", "rating"))
        none = f"No sessions in the store {storage.root} yet."
        output.note("No session fits. 'localstore ls' lists all." if filtered else none)
    if reading.problems:
        context.exit(FINDINGS)


def _parts(form: str, reading: Reading, *, per_run: bool) -> Iterator[str]:
    from localstore import exporting

    if form == "openai-jsonl":
        return exporting.openai_lines(reading, _left_out, per_run=per_run)
    write = {"markdown": exporting.markdown_text, "html": exporting.html_page, "json": exporting.json_array}[form]
    return write(reading)


def _left_out(session: Session, run: Run, why: str) -> None:
    output.note(f"Left out: run {run.run_id} of {session.session_id}: {why}.")
