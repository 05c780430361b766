"""`localstore rate`: say that a run was good or bad, or take that back."""

from __future__ import annotations

from typing import Literal

import click

from localstore.errors import SessionNotFound

from .. import output
from ..sessions import find_session
from ..store import open_store, store_option


@click.command(context_settings={"ignore_unknown_options": True})  # -1 is a run
@click.argument("session")
@click.argument("run")
@click.argument("rating", type=click.Choice(["good", "bad"]), metavar="[good|bad]", required=False)
@click.option("--note", metavar="TEXT", help="Say why. Without it the run has no note any more.")
@click.option("--remove", is_flag=True, help="Take the rating away, and its note.")
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
    """Rate a run of a session. Nothing else of it changes.

    SESSION is an id, a name, or the beginning of an id that no other one shares. RUN is its id, its number as 'show'
    counts (1 is the first, -1 the last), or the beginning of its id. 'localstore export --rating good' and the
    library's 'examples' find rated runs.
    """
    context = click.get_current_context()
    if (rating is not None) == remove:
        raise click.UsageError("Give either good or bad, or --remove", context)
    if note is not None and remove:
        raise click.UsageError("--note and --remove exclude each other", context)
    storage = open_store(store)
    session_id = find_session(storage, session).session_id
    found = storage.read(session_id)
    if found is None:
        raise SessionNotFound(f"Session '{session_id}' was deleted just now. 'localstore ls' lists the others.")

    from ..runs import find_run

    number, which = find_run(found, run)
    storage.rate(session_id, which.run_id, rating, note)
    if as_json:
        said = {"session_id": session_id, "run_id": which.run_id, "rating": rating, "rating_note": note or None}
        output.write_json({name: value for name, value in said.items() if value is not None})
    else:
        said_of_it = f"is rated {rating} now" if rating else "has no rating now"
        output.write(f"{output.one_line(f'Run {number} of {session_id} {said_of_it}')}\n")
