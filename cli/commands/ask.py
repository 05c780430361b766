"""`localstore ask`: ask a model one question, and store the answer in a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .. import output
from ..agent_options import AgentOptions, agent_options
from ..arguments import find_session
from ..errors import FINDINGS
from ..piped_text import is_text, piped_text
from ..store_option import open_or_make_store, store_option

if TYPE_CHECKING:
    from localstore.agents.agent import Agent


@click.command()
@click.argument("question", required=False)
@click.option("-c", "--continue", "continues", is_flag=True, help="Continue the most recently active session.")
@click.option("--session", metavar="SESSION", help="Continue this session.")
@click.option("--new", is_flag=True, help="Start a new session. This is the default.")
@agent_options
@click.option("--json", "as_json", is_flag=True, help="Print the answer as a JSON object, when it is complete.")
@store_option
def command(
    question: str | None,
    continues: bool,
    session: str | None,
    new: bool,
    as_json: bool,
    store: str | None,
    options: AgentOptions,
) -> None:
    """Ask a model one question. The question and the answer are stored in a session.

    Text from a pipe is added to the question: 'git diff | localstore ask "Explain this change"'. Without QUESTION, the
    text from the pipe is the question.

    Each question starts a new session. To continue one, use -c for the most recently active session of an agent, or
    --session with an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore
    ls'. The model then receives the last questions and answers of the session.

    The API key is read from OPENAI_API_KEY. A server on this machine (--base-url http://localhost:11434/v1) needs no
    key. If --store or LOCALSTORE_DIR names a folder that is not a store yet, a store is created there.

    The answer is written to standard output, everything else to standard error. The exit code is 1 if the question was
    not answered.
    """
    context = click.get_current_context()
    if continues + (session is not None) + new > 1:
        raise click.UsageError("--continue, --session and --new cannot be combined", context)
    for name, value in (("QUESTION", question), ("--session", session)):
        if value is not None and not value.strip():
            raise click.UsageError(f"{name} is empty", context)
    if question is not None and not is_text(question):
        raise click.UsageError("QUESTION is not text in UTF-8", context)
    parts = (question or "", piped_text().rstrip())
    whole = "\n\n".join(part for part in parts if part)
    if not whole:
        raise click.UsageError("There is no question. Write it in quotes, or send it through a pipe", context)
    storage = open_or_make_store(store)
    info = None
    if session is not None:
        info = find_session(storage, session)
    elif continues and (info := options.newest_session(storage)) is not None:
        output.note(f"Continuing session {info.session_id}" + (f" ({info.title})" if info.title else ""))
    agent = options.make_agent(storage, info)
    if not _answered(agent, whole, as_json):
        context.exit(FINDINGS)


def _answered(agent: Agent, question: str, as_json: bool) -> bool:
    """Ask the question and print the answer. Return False, and print the error, if there is none."""
    from localstore.agents.terminal.error_text import error_line
    from localstore.agents.terminal.response import print_response

    try:
        if as_json:
            _print_json(agent, question)
        else:
            events = agent.stream(question)
            run = print_response(None, events, markdown=True, tool_calls=agent.show_tool_calls, panel=False)
            if run is not None and not run.answer.strip():
                output.note("The answer is empty.")
    except BrokenPipeError:
        raise  # the output is closed
    except Exception as error:  # noqa: BLE001 - any error of the model, the server or the storage is one line
        output.note(error_line(error))
        return False
    return True


def _print_json(agent: Agent, question: str) -> None:
    run = agent.run(question)
    output.write_json(
        {
            "session_id": agent.session_id,
            "run_id": run.run_id,
            "model": run.model,
            "answer": run.answer,
            "finish_reason": run.finish_reason,
            "metrics": None if run.metrics is None else run.metrics.model_dump(exclude_none=True),
        }
    )
