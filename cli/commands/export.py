"""`localstore export`: export sessions as Markdown, HTML, JSON, examples for fine-tuning, or ATIF."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from .. import output
from ..errors import FINDINGS
from ..filter_options import filter_options, limit_option
from ..picker import pick_option, pick_session
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from localstore.models.filter import Filter
    from localstore.models.session import Run, Session
    from localstore.models.session_info import SessionInfo

FORMATS = ("markdown", "html", "json", "openai-jsonl", "atif")


@click.command()
@click.argument("sessions", metavar="[SESSION]...", nargs=-1)
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="Export in this format.")
@click.option("--output", "file", metavar="FILE", help="Write to FILE, which must not exist.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--redact", is_flag=True, help="Replace secrets, as 'localstore redact --secrets' does, and those in ids."
)
@filter_options
@limit_option("At most the first N of these sessions.")
@pick_option
@store_option
def command(where: Filter, **options: Any) -> None:
    """Export sessions. Without SESSION or filters, export the whole store.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls';
    - reads ids from standard input, one per line. A session must match all filters. Sessions are exported in the
    order of the command line, otherwise most recently active first. With --rating, only the runs with this rating are
    exported.

    \b
    markdown      conversations, to paste into a chat, an issue or a wiki
    html          one page to read or print, which works offline
    json          an array of whole documents, whether stored as JSON or YAML
    openai-jsonl  examples to fine-tune a model: one line per session with all
                  its completed runs; with --rating, one line per run
    atif          trajectories for other tools, one line per session, which
                  'localstore import atif' reads back

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
    rating, where = where.rating, replace(where, rating=None)  # a filter leaves out the ratings of unfinished runs
    limit = options["limit"]
    if options["pick"]:
        infos: Iterable[SessionInfo] = [pick_session(storage, where, named=named)]
    else:
        infos = select_sessions(storage, named, where, limited=limit is not None)
    reader = SessionReader(storage, infos, rating, limit)
    if not named and not options["pick"]:
        for path, problem in storage.unreadable_files().items():
            reader.problem(f"{path}: {problem}")
    sessions: Iterable[Session] = reader
    if options["redact"]:
        from localstore.exporting import without_secrets

        sessions = map(without_secrets, reader)
    write_export(_parts(options["form"], sessions, per_run=rating is not None), file, options["force"])
    if not reader.read:
        filtered = named or where or rating
        none = f"No sessions in the store {storage.root} yet."
        output.note("No sessions match. 'localstore ls' lists all sessions." if filtered else none)
    if reader.problems:
        context.exit(FINDINGS)


def _parts(form: str, sessions: Iterable[Session], *, per_run: bool) -> Iterator[str]:
    from localstore import exporting

    if form == "openai-jsonl":
        return exporting.openai_lines(sessions, _left_out, per_run=per_run)
    write = {
        "markdown": exporting.markdown_text,
        "html": exporting.html_page,
        "json": exporting.json_array,
        "atif": exporting.atif_lines,
    }[form]
    return write(sessions)


def _left_out(session: Session, run: Run, why: str) -> None:
    output.note(f"Left out: run {run.run_id} of {session.session_id}: {why}.")
