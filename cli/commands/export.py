"""`localstore export`: export sessions as Markdown, HTML, JSON, or examples for fine-tuning."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from .. import output
from ..errors import FINDINGS
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localstore.models.session import Run, Session

    from ..export_io import SessionReader

FORMATS = ("markdown", "html", "json", "openai-jsonl")


def _since(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    """Return the time, or None if it is not given. A date means midnight; a time without a zone is local."""
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter("Give a date such as 2026-11-22, or a time such as 2026-11-22T07:00") from None


@click.command()
@click.argument("sessions", metavar="[SESSION]...", nargs=-1)
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="Export in this format.")
@click.option("--output", "file", metavar="FILE", help="Write to FILE, which must not exist.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--user", metavar="ID", help="Export only sessions of this user.")
@click.option(
    "--tag", "tags", metavar="TAG", multiple=True, help="Export only sessions with this tag. May be repeated."
)
@click.option("--since", metavar="DATE", callback=_since, help="Export only sessions that were active since DATE.")
@click.option("--rating", type=click.Choice(["good", "bad"]), help="Export only runs with this rating.")
@store_option
def command(**options: Any) -> None:
    """Export sessions. Without SESSION or filters, export the whole store.

    SESSION is an id, a name, or the unique beginning of an id. A session must match all filters. Sessions are
    exported in the order of the command line, otherwise most recently active first.

    \b
    markdown      conversations, to paste into a chat, an issue or a wiki
    html          one page to read or print, which works offline
    json          an array of whole documents, whether stored as JSON or YAML
    openai-jsonl  examples to fine-tune a model: one line per session with all
                  its completed runs; with --rating, one line per run

    Examples for fine-tuning contain no tool definitions, because documents do not store them. A run that is not a
    complete example is left out and named.

    A document that cannot be read is left out and named, and the exit code is 1. FILE is written completely or not at
    all, and only you can read it.
    """
    context = click.get_current_context()
    file = None if options["file"] == "-" else options["file"]
    if options["force"] and file is None:
        raise click.UsageError("--force needs --output FILE", context)
    if file == "":
        raise click.UsageError("FILE is empty", context)
    from ..export_io import SessionReader, refuse_existing, select_sessions, write_export

    if file is not None:
        refuse_existing(file, options["force"])
    storage = open_store(options["store"])
    named = options["sessions"]
    reader = SessionReader(
        storage, select_sessions(storage, named, options["user"], options["tags"], options["since"]), options["rating"]
    )
    if not named:
        for path, problem in storage.unreadable_files().items():
            reader.problem(f"{path}: {problem}")
    write_export(_parts(options["form"], reader, per_run=options["rating"] is not None), file, options["force"])
    if not reader.read:
        filtered = named or any(options[name] for name in ("user", "tags", "since", "rating"))
        none = f"No sessions in the store {storage.root} yet."
        output.note("No sessions match. 'localstore ls' lists all sessions." if filtered else none)
    if reader.problems:
        context.exit(FINDINGS)


def _parts(form: str, reader: SessionReader, *, per_run: bool) -> Iterator[str]:
    from localstore import exporting

    if form == "openai-jsonl":
        return exporting.openai_lines(reader, _left_out, per_run=per_run)
    write = {"markdown": exporting.markdown_text, "html": exporting.html_page, "json": exporting.json_array}[form]
    return write(reader)


def _left_out(session: Session, run: Run, why: str) -> None:
    output.note(f"Left out: run {run.run_id} of {session.session_id}: {why}.")
