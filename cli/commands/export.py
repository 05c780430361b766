"""`localstore export`: export sessions as Markdown, HTML, JSON, examples for fine-tuning, or ATIF."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from .. import output
from ..arguments import find_sessions
from ..errors import FINDINGS
from ..filter_options import filter_options, limit_option
from ..picker import pick_option, pick_session
from ..store_option import open_store, store_name, store_option

if TYPE_CHECKING:
    from localstore.models.filter import Filter
    from localstore.models.session_info import SessionInfo
    from localstore.storage.contract import SessionStorage
    from localstore.storage.export import Export, ExportFormat

FORMATS = ("markdown", "html", "json", "openai-jsonl", "atif", "site")


@click.command()
@click.argument("sessions", metavar="[SESSION]...", nargs=-1)
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="Export in this format.")
@click.option("--output", "file", metavar="FILE", help="Write to FILE, or a folder for 'site', which must not exist.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--redact", is_flag=True, help="Replace secrets, as 'localstore redact --secrets' does, and those in ids."
)
@filter_options
@limit_option("At most the first N of these sessions.")
@pick_option
@store_option
def command(where: Filter, **options: Any) -> None:
    """Export sessions as Markdown, HTML, JSON and other formats. Without SESSION or filters, export the whole store.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls';
    - reads ids from standard input, one per line. A session must match all filters. Sessions are exported in the
    order of the command line, otherwise most recently active first. With --rating, only the runs with this rating are
    exported.

    \b
    markdown      conversations, to paste into a chat, an issue or a wiki
    html          one page to read or print, which works offline
    site          a folder with the pages of 'localstore serve' and a search
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
    from ..export_io import refuse_existing, report, write_export

    folder = _new_folder(file, context) if options["form"] == "site" else None
    if folder is None and file is not None:
        refuse_existing(file, options["force"])
    storage = open_store(options["store"])
    named = options["sessions"]
    if options["pick"]:
        any_rating = replace(where, rating=None)  # the rating is that of the runs to export
        chosen: list[SessionInfo] | None = [pick_session(storage, any_rating, named=named)]
    else:
        chosen = find_sessions(storage, named) or None
    form: ExportFormat = "html" if folder is not None else options["form"]
    done = storage.export(form, chosen, where=where, limit=options["limit"], redact=options["redact"], report=report)
    if folder is not None:
        _write_site(storage, done, where, folder, has_all=not (named or options["limit"] or options["redact"]))
    else:
        write_export(iter(done), file, options["force"])
    if not done.exported:
        none = f"No sessions in the store {store_name(storage)} yet."
        output.note("No sessions match. 'localstore ls' lists all sessions." if named or where else none)
    if any(one.run_id is None for one in done.left_out):
        context.exit(FINDINGS)


def _new_folder(folder: str | None, context: click.Context) -> str:
    """Return the folder. Raises UsageError unless it is a new one whose parent exists."""
    if folder is None or context.params["force"]:
        raise click.UsageError("--format site needs --output DIR, and no --force", context)
    if os.path.lexists(folder):
        raise click.UsageError(f"{folder} exists. Choose another name, or remove it first", context)
    if not os.path.isdir(parent := os.path.dirname(os.path.abspath(folder))):
        raise click.UsageError(f"There is no folder {parent}. Make it first", context)
    return folder


def _write_site(storage: SessionStorage, done: Export, where: Filter, folder: str, *, has_all: bool) -> None:
    """Write the pages. The dashboard is among them if it counts just these sessions."""
    from pathlib import Path

    from localstore.viewer.counting import count_figures
    from localstore.viewer.site import write_site

    write_site(done.sessions(), Path(folder), store_name(storage), count_figures(storage, where) if has_all else None)
    output.note(f"Wrote {os.path.join(folder, 'index.html')}")
