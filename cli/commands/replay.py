"""`localstore replay`: ask the questions of a session again with another model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from localstore.errors import SessionNotFound

from .. import output
from ..arguments import find_session
from ..errors import CANNOT_NOW, FINDINGS
from ..model_options import base_url_option, make_model, max_tokens_option, model_of, temperature_option
from ..progress import waiting
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from localstore.models.session import Session
    from localstore.storage.contract import SessionStorage

    from ..comparison import Comparison


@click.command()
@click.argument("session")
@click.option("--model", metavar="NAME", help="Ask this model. Required.")
@base_url_option
@click.option(
    "--history",
    type=click.IntRange(min=0),
    metavar="N",
    help="Send at most N earlier runs with each question. Default: all.",
)
@temperature_option
@max_tokens_option
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Ask only the last N questions.")
@click.option("--pass", "function", metavar="MODULE:FUNCTION", help="Score each answer with this function.")
@click.option("--threshold", type=click.FloatRange(0, 1), metavar="X", help="Require this score to pass. Default: 0.5.")
@click.option("--no-store", is_flag=True, help="Do not store the new answers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per question, each on a line.")
@store_option
def command(
    session: str,
    model: str | None,
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
    """Ask another model the questions of a session, and compare its answers with the stored ones.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls'.
    The questions of completed runs are asked, each with the stored history, instructions and state from before its run.
    New answers are not added to the history.
    Documents do not record how many earlier runs the old model received, so the new model receives all of them;
    --history limits them. The model gets no tools. If a run used tools, the model receives their stored results.

    The new answers are stored in a new session, which is named after the old one. In a pipe, each question is one line:
    number, run, question, old answer, new answer, score and error, separated by tabs.

    --pass names a function in an installed module or, if none has that name, in a module in the working directory. The
    function is called with the question, the old answer and the new answer, and must return True, False, or a number
    from 0 to 1. The exit code is 1 if an answer does not pass, otherwise 5 if a question was not answered.
    """
    context = click.get_current_context()
    if threshold is not None and function is None:
        raise click.UsageError("--threshold needs --pass", context)
    storage = open_store(store)
    original = _read(storage, session)
    if model is None:
        model_of(original)  # says so if there is no model on a server to compare with
        raise click.UsageError("Missing option '--model'. Name the model to ask", context)
    from localstore.agents.replay import Replay, stored_questions

    from ..comparison import Columns, JsonLines, Rows, Tally
    from ..scorer import Scorer

    questions = stored_questions(original, history=history)
    if not questions:
        why = " A model cannot repeat a workflow, which is code." if original.kind == "workflow" else ""
        raise SessionNotFound(f"Session '{original.session_id}' has no completed run with a question to repeat.{why}")
    if left_out := len(original.runs) - len(questions):
        output.note(f"Left out: {left_out:,} of {len(original.runs):,} runs, not completed or without a question.")
    questions = questions if last is None else questions[-last:]
    scorer = None if function is None else Scorer(function, 0.5 if threshold is None else threshold)
    answering = make_model(model, base_url, temperature=temperature, max_tokens=max_tokens)
    replay = Replay(original, answering, None if no_store else _same_format(storage, original.session_id))
    printer: Comparison = Columns() if output.to_terminal() else Rows()
    if as_json:
        printer = JsonLines(None if no_store else replay.session_id)
    tally = Tally(len(questions))
    try:
        for question in questions:
            with waiting(f"Question {tally.done + 1:,} of {len(questions):,} ..."):
                repeated = replay.ask(question)
            try:
                score = None
                if scorer is not None and repeated.new is not None:
                    score = scorer(question.run.question, repeated.old, repeated.new)
            finally:
                tally.add(repeated, score)
                printer.show(repeated, score)
    finally:
        answering.close()
        tally.summary()
        if replay.is_kept:
            output.note(f"The new answers are in session {replay.session_id}")
    if tally.has_failing_score:
        context.exit(FINDINGS)
    if tally.unanswered:
        context.exit(CANNOT_NOW)


def _read(storage: SessionStorage, named: str) -> Session:
    """Return the session with its whole history.

    Raises SessionNotFound or Ambiguous if `named` does not identify one session, UsageError if it is itself a replay.
    """
    session_id = find_session(storage, named).session_id
    original = storage.read(session_id)
    if original is None:
        raise SessionNotFound(f"Session '{session_id}' was deleted just now. 'localstore ls' lists the remaining ones.")
    if (origin := original.metadata.get("replay_of")) is not None:
        # Its questions were asked with the history of the other session, not with its own.
        problem = f"Session '{session_id}' is itself a replay. Replay '{origin}'"
        raise click.UsageError(problem, click.get_current_context())
    return original


def _same_format(storage: SessionStorage, session_id: str) -> SessionStorage:
    """Return the store, opened so that a new document gets the same format as this session's."""
    from localstore.storage.storage import Storage, YamlStorage

    if isinstance(storage, Storage) and storage.path(session_id).suffix == ".yaml":
        return YamlStorage(storage.root, create=False)
    return storage
