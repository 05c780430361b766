"""`localstore chat`: chat with a model in a session of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .. import output
from ..arguments import find_session
from ..errors import FINDINGS
from ..model_options import DEFAULT_MODEL, base_url_option, find_key, make_model, model_of
from ..store_option import open_or_make_store, store_option

if TYPE_CHECKING:
    from localstore.models.session import Session
    from localstore.storage.storage import JsonStorage

HISTORY_RUNS, HISTORY_TOKENS = 20, 6000
"""The history that the model receives: at most this many runs and tokens."""


@click.command()
@click.argument("session", required=False)
@click.option("--new", is_flag=True, help="Start a new session.")
@click.option(
    "--model", metavar="NAME", help=f"Use this model. Default: the session's last model, else {DEFAULT_MODEL}."
)
@base_url_option
@click.option("--user", metavar="USER", help="Continue only sessions of this user. A new session belongs to this user.")
@click.option("--instructions", metavar="TEXT", help="Send TEXT as the system message. Default: the session's own.")
@store_option
def command(**options: Any) -> None:
    """Chat with a model. Questions and answers are stored in a session.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls'.
    Without SESSION, the chat continues the most recently active session of an agent, or starts a new session if there
    is none. The model receives the last questions and answers of the session. In the chat, type /help to list its
    commands, and bye to leave.

    The API key is read from OPENAI_API_KEY. A server on this machine (--base-url http://localhost:11434/v1) needs no
    key. If --store or LOCALSTORE_DIR names a folder that is not a store yet, a store is created there.

    If the input comes from a pipe, each line is a question. Answers are written to standard output, everything else to
    standard error. The exit code is 1 if a question was not answered.
    """
    context = click.get_current_context()
    if options["new"] and options["session"] is not None:
        raise click.UsageError("SESSION and --new cannot be combined", context)
    for name in ("session", "user", "model"):
        if options[name] == "":
            raise click.UsageError(f"{name.upper()} is empty", context)
    find_key(options["base_url"])
    storage = open_or_make_store(options["store"])
    session_id = None if options["new"] else _session_id(storage, options["session"], options["user"])

    from localstore.agents.agent import Agent
    from localstore.agents.models.redaction import public_address
    from localstore.agents.terminal.chat import Chat

    last = None if session_id is None else storage.read(session_id, last_runs=HISTORY_RUNS)
    model = options["model"] or (last and model_of(last)) or DEFAULT_MODEL
    agent = Agent(
        model=make_model(model, options["base_url"]),
        user_id=options["user"],
        storage=storage,
        num_history_runs=HISTORY_RUNS,
        max_history_tokens=HISTORY_TOKENS,
        save_partial=True,
    )
    if session_id is not None:
        agent.load_session(session_id)

    def use_instructions(session: Session | None) -> None:
        agent.instructions = options["instructions"] or (session.instructions if session is not None else None)

    output.note(f"Asking {model}" + (f" at {public_address(options['base_url'])}" if options["base_url"] else ""))
    all_answered = Chat(agent, markdown=True, on_session=use_instructions).run()
    if not all_answered and not output.can_ask():
        context.exit(FINDINGS)


def _session_id(storage: JsonStorage, named: str | None, user: str | None) -> str | None:
    if named is not None:
        return find_session(storage, named).session_id
    rows = storage.list_sessions(user_id=user, kind="agent", limit=1)
    return rows[0].session_id if rows else None
