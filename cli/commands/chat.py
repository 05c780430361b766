"""`localstore chat`: talk with a model, in a session of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .. import output
from ..errors import FINDINGS
from ..models import DEFAULT_MODEL, base_url_option, find_key, make_model
from ..sessions import find_session
from ..store import open_or_make_store, store_option

if TYPE_CHECKING:
    from localstore.models.session import Session
    from localstore.storage.storage import JsonStorage

HISTORY_RUNS, HISTORY_TOKENS = 20, 6000
"""What the model is given of what was said before: so many runs, as far as they fit into so many tokens."""


@click.command()
@click.argument("session", required=False)
@click.option("--new", is_flag=True, help="Begin a new session.")
@click.option(
    "--model", metavar="NAME", help=f"Ask this model. Default: the one that was asked last, else {DEFAULT_MODEL}."
)
@base_url_option
@click.option("--user", metavar="USER", help="Go on in this user's sessions only; a new one is this user's.")
@click.option("--instructions", metavar="TEXT", help="Tell the model this first. Default: what the session says.")
@store_option
def command(**given: Any) -> None:
    """Talk with a model. What is asked and answered is stored in a session, as an agent does it.

    SESSION is an id, a name, or the beginning of an id that no other one shares; the newest session of an agent when
    left out, and a new one when there is none. The model is given the last questions and answers of the session.
    /help lists what can be done meanwhile; bye ends it.

    The key is taken from OPENAI_API_KEY; a server on this machine (--base-url http://localhost:11434/v1) needs none.
    A store is made where --store or LOCALSTORE_DIR name one that is not there.

    From a pipe, each line is a question. The answers go to the standard output, everything else to the standard error;
    with a question that was not answered, the exit code is 1.
    """
    context = click.get_current_context()
    if given["new"] and given["session"] is not None:
        raise click.UsageError("SESSION and --new exclude each other", context)
    for name in ("session", "user", "model"):
        if given[name] == "":
            raise click.UsageError(f"{name.upper()} is empty", context)
    find_key(given["base_url"])
    storage = open_or_make_store(given["store"])
    session_id = None if given["new"] else _session_id(storage, given["session"], given["user"])

    from localstore.agents.agent import Agent
    from localstore.agents.terminal.chat import Chat

    last = None if session_id is None else storage.read(session_id, last_runs=1)
    model = given["model"] or (last and last.runs and last.runs[-1].model) or DEFAULT_MODEL
    agent = Agent(
        model=make_model(model, given["base_url"]),
        user_id=given["user"],
        storage=storage,
        add_history_to_messages=True,
        num_history_runs=HISTORY_RUNS,
        max_history_tokens=HISTORY_TOKENS,
        save_partial=True,
    )
    if session_id is not None:
        agent.load_session(session_id)

    def use_instructions(session: Session | None) -> None:
        agent.instructions = given["instructions"] or (session.instructions if session is not None else None)

    output.note(f"Asking {model}" + (f" at {given['base_url']}" if given["base_url"] else ""))
    all_answered = Chat(agent, markdown=True, on_session=use_instructions).run()
    if not all_answered and not output.can_ask():
        context.exit(FINDINGS)


def _session_id(storage: JsonStorage, named: str | None, user: str | None) -> str | None:
    if named is not None:
        return find_session(storage, named).session_id
    rows = storage.list_sessions(user_id=user, kind="agent", limit=1)
    return rows[0].session_id if rows else None
