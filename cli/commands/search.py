"""`localstore search`: find words in the sessions of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .. import output
from ..filter_options import filter_options, limit_option
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from localstore.models.filter import Filter
    from localstore.models.search_hit import SearchHit


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("words", nargs=-1, required=True, metavar="WORDS...")
@filter_options
@limit_option("At most N entries. [default: 20]")
@click.option("--all", "everything", is_flag=True, help="Show all entries that match.")
@click.option("--literal", is_flag=True, help="Find exactly this text, with case and punctuation. Reads the files.")
@click.option("--rank", is_flag=True, help="Show the best match first, not the newest.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with all fields of each entry.")
@store_option
def command(
    words: tuple[str, ...],
    where: Filter,
    limit: int | None,
    everything: bool,
    literal: bool,
    rank: bool,
    as_json: bool,
    store: str | None,
) -> None:
    """Find the entries that have all of WORDS, newest first.

    Messages, tool calls and their results, names and tags are searched. 'wor*' is the beginning of a word,
    '"two words"' must follow each other, and an entry with '-word' is left out. Case and accents make no difference.

    In a pipe, there is one line for each entry: session, run, role, field, time and snippet, separated by tabs.
    """
    if limit and everything:
        raise click.UsageError("--limit and --all cannot be combined", click.get_current_context())
    text = " ".join(words)
    if not text.strip():
        raise click.UsageError("WORDS is empty", click.get_current_context())
    if not literal and (options := [word for word in words if word.startswith("--")]):
        raise click.NoSuchOption(options[0], ctx=click.get_current_context())
    hits = open_store(store).search(
        text,
        where=where,
        limit=None if everything else limit or 20,
        literal=literal,
        rank=rank,
    )
    if as_json:
        output.write_json([hit.as_dict() for hit in hits])
    elif output.to_terminal():
        _show(hits)
    else:
        output.write_rows(map(_cells, hits))
    if not hits and not as_json:
        output.note("Nothing was found. All words must be in one entry; 'wor*' finds words with this beginning.")


def _cells(hit: SearchHit) -> tuple[str, ...]:
    return (hit.session_id, hit.run_id or "", hit.role or "", hit.field, _time(hit), hit.snippet)


def _time(hit: SearchHit) -> str:
    from localstore.models.times import time_text

    return "" if hit.created_at is None else time_text(hit.created_at)


def _show(hits: list[SearchHit]) -> None:
    """Print two lines for each hit: what was found and when, and the snippet with the words marked."""
    from rich.text import Text

    screen = output.console()
    for hit in hits:
        title = Text(output.one_line(hit.session_id), style="bold")
        if hit.title and hit.title != hit.session_id:
            title.append(f"  {output.one_line(hit.title)}", style="not bold")
        when = output.when(_time(hit))
        what = hit.field if hit.role is None or hit.field != "content" else hit.role
        title.append(f"  {when}  {what}" if when else f"  {what}", style="not bold dim")
        screen.print(title, no_wrap=True, overflow="ellipsis")
        screen.print(_marked(hit), soft_wrap=False)


def _marked(hit: SearchHit) -> object:
    """Return the snippet with its words marked and control characters written as escapes."""
    from rich.text import Text

    marked = Text("  ")
    end = 0
    for start, stop in hit.places:
        marked.append(output.one_line(hit.snippet[end:start]))
        marked.append(output.one_line(hit.snippet[start:stop]), style="bold yellow")
        end = stop
    marked.append(output.one_line(hit.snippet[end:]))
    return marked
