"""`localstore search`: find words in the sessions of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .. import output
from ..filter_options import filter_options, limit_option
from ..local_times import when
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from rich.text import Text

    from localstore.models.filter import Filter
    from localstore.models.search_hit import SearchHit
    from localstore.storage.contract import SessionStorage

MOST = 20
"""How many entries are shown without `--all` or `--limit`."""
_NARROWEST_TITLE = 12
_SHORT = 8
"""How many characters of the id of a run are shown."""


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("words", nargs=-1, required=True, metavar="WORDS...")
@filter_options
@limit_option(f"At most N entries. [default: {MOST}]")
@click.option("--all", "everything", is_flag=True, help="Show all entries that match.")
@click.option("--literal", is_flag=True, help="Find exactly this text, with case and punctuation. Reads the files.")
@click.option("--rank", is_flag=True, help="Show the best match first, not the newest.")
@click.option("--no-sweep", is_flag=True, help="Do not look for documents that were edited. Faster in a large store.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with all fields of each entry.")
@store_option
def command(
    words: tuple[str, ...],
    where: Filter,
    limit: int | None,
    everything: bool,
    literal: bool,
    rank: bool,
    no_sweep: bool,
    as_json: bool,
    store: str | None,
) -> None:
    """Find words in what was said, in tool calls and their results, and in names and tags.

    An entry must have all of WORDS. The newest one comes first. 'wor*' is the beginning of a word,
    '"two words"' must follow each other, and an entry with '-word' is left out. Case and accents make no difference.

    On a terminal, the entries stand below the title of their session. In a pipe, there is one line for each entry:
    session, run, role, field, time and snippet, separated by tabs.
    """
    if limit and everything:
        raise click.UsageError("--limit and --all cannot be combined", click.get_current_context())
    text = " ".join(words)
    if not text.strip():
        raise click.UsageError("WORDS is empty", click.get_current_context())
    if not literal and (options := [word for word in words if word.startswith("--")]):
        raise click.NoSuchOption(options[0], ctx=click.get_current_context())
    storage = open_store(store)
    most = None if everything else limit or MOST
    found = storage.search(text, where=where, limit=most and most + 1, literal=literal, rank=rank, sweep=not no_sweep)
    hits = found[:most]
    if as_json:
        output.write_json([hit.as_dict() for hit in hits])
    elif output.to_terminal():
        _show(storage, hits)
    else:
        output.write_rows(map(_cells, hits))
    if len(found) > len(hits) and limit is None:
        output.note(f"There are more than {MOST} entries. --all shows them.")
    if not hits and not as_json:
        output.note(f"Nothing was found. {'' if literal else _hint(text)}".rstrip())


def _hint(text: str) -> str:
    wildcard = "'wor*' finds words with this beginning."
    return f"All words must be in one entry; {wildcard}" if len(text.split()) > 1 else wildcard


def _cells(hit: SearchHit) -> tuple[str, ...]:
    return (hit.session_id, hit.run_id or "", hit.role or "", hit.field, _time(hit), hit.snippet)


def _time(hit: SearchHit) -> str:
    from localstore.models.times import time_text

    return "" if hit.created_at is None else time_text(hit.created_at)


def _show(storage: SessionStorage, hits: list[SearchHit]) -> None:
    """Print the hits of each session below its title: run, role and time, and the snippet with the words marked."""
    from rich.cells import cell_len
    from rich.padding import Padding
    from rich.text import Text

    from ..cells import elided, shortened
    from ..session_table import short_ids

    screen = output.console()
    groups: dict[str, list[SearchHit]] = {}
    for hit in hits:
        groups.setdefault(hit.session_id, []).append(hit)
    ids = short_ids(storage, list(groups))
    for number, (session_id, group) in enumerate(groups.items()):
        shown_id = elided(output.one_line(ids[session_id]), max(_NARROWEST_TITLE, screen.width // 2))
        title = shortened(
            output.one_line(group[0].title or "-"), max(_NARROWEST_TITLE, screen.width - cell_len(shown_id) - 2)
        )
        if number:
            screen.print()
        screen.print(Text.assemble((title, "bold"), "  ", (shown_id, "cyan")), no_wrap=True, overflow="ellipsis")
        for hit in group:
            facts = "  ".join(filter(None, (_run(hit), _what(hit), when(_time(hit)))))
            screen.print(Text(f"  {facts}", "dim"), no_wrap=True, overflow="ellipsis")
            screen.print(Padding(_marked(hit), (0, 0, 0, 4), expand=False))


def _run(hit: SearchHit) -> str:
    """Return how other commands name the run of a hit: by its number or, if that is unknown, by a part of its id."""
    if hit.run_id is None:
        return ""
    return f"run {output.one_line(hit.run_id[:_SHORT]) if hit.run_number is None else hit.run_number}"


def _what(hit: SearchHit) -> str:
    return output.one_line(hit.field if hit.role is None or hit.field != "content" else hit.role)


def _marked(hit: SearchHit) -> Text:
    """Return the snippet with its words marked and control characters written as escapes."""
    from rich.text import Text

    marked = Text()
    end = 0
    for start, stop in hit.places:
        marked.append(output.one_line(hit.snippet[end:start]))
        marked.append(output.one_line(hit.snippet[start:stop]), style="bold red")
        end = stop
    marked.append(output.one_line(hit.snippet[end:]))
    return marked
