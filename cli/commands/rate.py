"""`localstore rate`: rate a run good or bad, or remove its rating."""

from __future__ import annotations

from typing import Literal

import click

from localstore.errors import SessionNotFound

from .. import output
from ..arguments import find_session
from ..store_option import open_store, store_option


@click.command(context_settings={"ignore_unknown_options": True})  # -1 is a run
@click.argument("session")
@click.argument("run")
@click.argument("rating", type=click.Choice(["good", "bad"]), metavar="[good|bad]", required=False)
@click.option("--note", metavar="TEXT", help="Store TEXT as the reason. Without it, an old note is removed.")
@click.option("--remove", is_flag=True, help="Remove the rating and its note.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's id, rating and note as JSON.")
@store_option
def command(
    session: str,
    run: str,
    rating: Literal["good", "bad"] | None,
    note: str | None,
    remove: bool,
    as_json: bool,
    store: str | None,
) -> None:
    """Rate a run of a session good or bad.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls'.
    RUN is its id, the unique beginning of its id, or its number in 'localstore show' (1 is the first, -1 the last).
    'localstore export --rating good' exports the runs that are rated good.
    """
    context = click.get_current_context()
    if (rating is not None) == remove:
        raise click.UsageError("Give either good or bad, or --remove", context)
    if note is not None and remove:
        raise click.UsageError("--note and --remove cannot be combined", context)
    storage = open_store(store)
    session_id = find_session(storage, session).session_id
    stored = storage.read(session_id)
    if stored is None:
        raise SessionNotFound(f"Session '{session_id}' was deleted just now. 'localstore ls' lists the remaining ones.")

    from ..run_argument import find_run

    runs = stored.runs
    number = find_run(session_id, [(one.run_id, one.question) for one in runs], run)
    matched = runs[number - 1]
    storage.rate(session_id, matched.run_id, rating, note)
    if as_json:
        result = {"session_id": session_id, "run_id": matched.run_id, "rating": rating, "rating_note": note or None}
        output.write_json({name: value for name, value in result.items() if value is not None})
    else:
        change = f"is now rated {rating}" if rating else "no longer has a rating"
        output.write(f"{output.one_line(f'Run {number} of {session_id} {change}')}\n")
