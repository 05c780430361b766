"""`localstore replay`: the questions of a session, asked again of another model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from localstore.errors import SessionNotFound

from .. import output
from ..errors import CANNOT_NOW, FINDINGS
from ..models import base_url_option, make_model
from ..progress import waiting
from ..sessions import find_session
from ..store import open_store, store_option

if TYPE_CHECKING:
    from localstore.models.session import Session
    from localstore.storage.storage import JsonStorage, Storage

    from ..comparison import Comparison


@click.command()
@click.argument("session")
@click.option("--model", required=True, metavar="NAME", help="Ask this model.")
@base_url_option
@click.option("--history", type=click.IntRange(min=0), metavar="N", help="Give the N runs before it. Default: all.")
@click.option("--temperature", type=click.FloatRange(min=0), metavar="T", help="Sample at this temperature.")
@click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="End each answer after N tokens.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Ask only the last N questions.")
@click.option("--pass", "function", metavar="MODULE:FUNCTION", help="Score each answer with this function.")
@click.option("--threshold", type=click.FloatRange(0, 1), metavar="X", help="What a score has to reach. Default: 0.5.")
@click.option("--no-store", is_flag=True, help="Keep nothing of it in the store.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each question, one on a line.")
@store_option
def command(
    session: str,
    model: str,
    base_url: str | None,
    history: int | None,
    temperature: float | None,
    max_tokens: int | None,
    last: int | None,
    function: str | None,
    threshold: float | None,
    no_store: bool,
    as_json: bool,
    store: str | None,
) -> None:
    """Ask the questions of a session again, and show the old and the new answers side by side.

    SESSION is an id, a name, or the beginning of an id that no other one shares. Questions of runs that were completed
    are asked, each with the history, the instructions and the state as they were before it: a new answer is never part
    of the history of the next question. How many runs of history the old model was given is not stored: all of them
    are given, or as many as --history says. The model gets no tools; where tools were used, it gets their stored
    results, and answers from there.

    The new answers stand in a fresh session, which is named after the old one. Into a pipe goes one line for each
    question: number, run, question, old answer, new answer, score and error, separated by tabs.

    --pass names a function in a module of the working directory, or an installed one. It is called with the question,
    the old and the new answer, and returns True, False, or a number from 0 to 1. The exit code is 1 when an answer does
    not pass, else 5 when a question got no answer.
    """
    context = click.get_current_context()
    if threshold is not None and function is None:
        raise click.UsageError("--threshold needs --pass", context)
    storage = open_store(store)
    found = _read(storage, session)
    from localstore.agents.replay import Replay, stored_questions

    from ..comparison import Columns, JsonLines, Rows, Told
    from ..scoring import Scorer

    questions = stored_questions(found, history=history)
    if not questions:
        why = " A workflow is code, which no model repeats." if found.kind == "workflow" else ""
        raise SessionNotFound(f"Session '{found.session_id}' has no completed run with a question to ask again.{why}")
    if left_out := len(found.runs) - len(questions):
        output.note(f"Left out: {left_out:,} of {len(found.runs):,} runs, not completed or without a question.")
    questions = questions if last is None else questions[-last:]
    scorer = None if function is None else Scorer(function, 0.5 if threshold is None else threshold)
    asked = make_model(model, base_url, temperature=temperature, max_tokens=max_tokens)
    replay = Replay(found, asked, None if no_store else _same_format(storage, found.session_id))
    shown: Comparison = Columns() if output.to_terminal() else Rows()
    if as_json:
        shown = JsonLines(None if no_store else replay.session_id)
    told = Told(len(questions))
    try:
        for question in questions:
            with waiting(f"Question {told.done + 1:,} of {len(questions):,} ..."):
                repeated = replay.ask(question)
            try:
                score = None
                if scorer is not None and repeated.new is not None:
                    score = scorer(question.run.question, repeated.old, repeated.new)
            finally:
                told.add(repeated, score)
                shown.show(repeated, score)
    finally:
        asked.close()
        told.summary()
        if replay.is_kept:
            output.note(f"What was asked and answered is in the session {replay.session_id}")
    if told.has_failing_score:
        context.exit(FINDINGS)
    if told.unanswered:
        context.exit(CANNOT_NOW)


def _read(storage: JsonStorage, named: str) -> Session:
    """The whole session. Raises SessionNotFound, Ambiguous, UsageError for one that is a replay itself."""
    session_id = find_session(storage, named).session_id
    found = storage.read(session_id)
    if found is None:
        raise SessionNotFound(f"Session '{session_id}' was deleted just now. 'localstore ls' lists the others.")
    if (origin := found.metadata.get("replay_of")) is not None:
        # Its runs were given the history of the other session, not its own.
        problem = f"Session '{session_id}' is a replay itself. Replay '{origin}'"
        raise click.UsageError(problem, click.get_current_context())
    return found


def _same_format(storage: JsonStorage, session_id: str) -> Storage:
    """The store, for a new document of the format of this session's."""
    from localstore.storage.storage import YamlStorage

    is_yaml = storage.path(session_id).suffix == ".yaml"
    return YamlStorage(storage.root, create=False) if is_yaml else storage
