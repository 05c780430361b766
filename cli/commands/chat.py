"""`localstore chat`: chat with a model in a session of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from localstore.errors import LocalstoreError
from localstore.models.filter import Filter

from .. import output
from ..agent_options import AgentOptions, agent_options
from ..arguments import find_session
from ..errors import FINDINGS
from ..picker import pick_option, pick_session
from ..store_option import open_or_make_store, store_option

if TYPE_CHECKING:
    from localstore.models.session import Session


@click.command()
@click.argument("session", required=False)
@click.option("--new", is_flag=True, help="Start a new session.")
@pick_option
@agent_options
@store_option
def command(session: str | None, new: bool, pick: bool, store: str | None, options: AgentOptions) -> None:
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
    if new and session is not None:
        raise click.UsageError("SESSION and --new cannot be combined", context)
    if session == "":
        raise click.UsageError("SESSION is empty", context)
    if new and pick:
        raise click.UsageError("--new and --pick cannot be combined", context)
    storage = open_or_make_store(store)
    if pick:
        where = Filter(kind="agent", user=options.user)
        agent = options.make_agent(storage, pick_session(storage, where, named=session))
    elif session is not None:
        agent = options.make_agent(storage, find_session(storage, session))
    else:
        agent = options.make_agent(storage, None if new else options.newest_session(storage))

    from localstore.agents.models.redaction import public_address
    from localstore.agents.terminal.chat import Chat

    def use_instructions(entered: Session | None) -> None:
        agent.instructions = options.system_message(entered)

    at = f" at {public_address(options.base_url)}" if options.base_url else ""
    output.note(f"Asking {agent.model.id}{at}")
    all_answered = Chat(agent, markdown=True, on_session=use_instructions, editor=_edited).run()
    if not all_answered and not output.can_ask():
        context.exit(FINDINGS)


def _edited(text: str) -> str:
    """Let the person edit a message. Raises LocalstoreError if that fails; what was typed is then kept in a file."""
    from ..editor import edit, editor, file_to_edit

    try:
        program = editor("type /multi")
        with file_to_edit(text.encode(), "message", ".md") as path:
            return edit(program, path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise LocalstoreError("The editor saved text that is not UTF-8. Save it as UTF-8, and try again.") from None
    except click.UsageError as error:
        raise LocalstoreError(f"{error.message}.") from None
