"""The commands of a chat: lines that begin with a slash."""

from __future__ import annotations

import contextlib
import difflib
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localstore.agents.models.openai_chat import OpenAIChat
from localstore.agents.terminal.conversation import Conversation
from localstore.agents.terminal.error_text import error_line
from localstore.agents.terminal.keyboard import ECHO
from localstore.agents.terminal.screen import one_line
from localstore.errors import SessionNotFound
from localstore.format.control_characters import escaped
from localstore.models.excerpt import one_line as shortened
from localstore.models.filter import LISTED
from localstore.storage.session_names import beginning_with, exactly_named, similar_to

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo

_MAX_LISTED = 20
_MAX_CANDIDATES = 10
_WIDE = 80
"""On a screen with at least this many columns, each session is listed on one line; otherwise on two."""
_BESIDE_TITLE = 50
"""How many columns the number, the id and the details take beside the title, in most cases."""
_END = "/end"
"""The line that ends the message of `/multi`."""
_NO_STORAGE = "This agent has no storage: its only session is in memory."


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the chat.

    `run` is called with the conversation and the text after the command's name. It returns False if it asked a question
    that was not answered; any other value means success. `argument` and `help` are shown by `/help`.
    """

    name: str
    argument: str
    help: str
    run: Callable[[Conversation, str], bool | None]
    needs_storage: bool = True


def run_command(conversation: Conversation, line: str) -> bool:
    """Run the command in `line`, which begins with a slash. Return False only if it asked a question without an answer.

    An unknown command and an error of the command are shown, and count as handled. Raises BrokenPipeError if the output
    is closed.
    """
    screen = conversation.screen
    words = line.split(maxsplit=1)
    name, argument = words[0].casefold(), words[1].strip() if len(words) > 1 else ""
    command = COMMANDS.get(_ALIASES.get(name, name))
    if command is None:
        screen.show_error(
            f"There is no command {one_line(words[0])}. {_suggestion(name)} To ask a question that begins with a "
            "slash, type a space first."
        )
        return True
    if command.needs_storage and not conversation.has_storage:
        screen.show_error(_NO_STORAGE)
        return True
    try:
        return command.run(conversation, argument) is not False
    except BrokenPipeError:
        raise  # the output is closed
    except Exception as error:  # noqa: BLE001 - the chat continues after any error
        screen.show_error(error_line(error))
        return True


def _suggestion(name: str) -> str:
    if name in _SYNONYMS:
        return f"Did you mean {_SYNONYMS[name]}?"
    names = [*COMMANDS, *_ALIASES]
    similar = [command for command in names if command.startswith(name)]
    similar = similar or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean {similar[0]}?" if similar else "/help lists the commands."


def _help(conversation: Conversation, _: str) -> None:
    rows = [(f"{command.name} {command.argument}".rstrip(), command.help) for command in COMMANDS.values()]
    rows += [("bye", "leave (also exit, quit, Ctrl-D)"), ("Ctrl-C", "stop the answer")]
    rows += [("... \\", "continue on the next line, after a backslash at the end of a line")]
    conversation.screen.show_rows(rows)


# Sessions


def _sessions(conversation: Conversation, _: str) -> None:
    screen = conversation.screen
    sessions = conversation.list_sessions(_MAX_LISTED + 1, where=LISTED)
    listed = sessions[:_MAX_LISTED]
    conversation.listed = [session.session_id for session in listed]
    is_terminal = screen.console is not None
    short = conversation.store("/sessions").short_ids(conversation.listed) if is_terminal else {}
    rows: list[tuple[str, ...]] = []
    for number, session in enumerate(listed, 1):
        title = shortened(escaped(session.title or ""), max(_WIDE, screen.width) - _BESIDE_TITLE)
        session_id = escaped(short.get(session.session_id, session.session_id))
        marker = ", this one" if session.session_id == conversation.agent.session_id else ""
        runs = "1 run" if session.runs == 1 else f"{session.runs:,} runs"
        day = "" if session.updated_at is None else f"{session.updated_at.astimezone():%Y-%m-%d}, "
        details = f"{day}{runs}{marker}"
        if screen.width < _WIDE:
            rows.append((str(number), f"{title}\n{session_id}  {details}".lstrip("\n")))
        else:
            rows.append((str(number), title, session_id, details))
    screen.show_rows(rows)
    for session in listed:
        if session.problem:
            screen.show_error(f"{escaped(session.session_id)}: {session.problem}")
    if unreadable := len(conversation.store("/sessions").unreadable_files()):
        files = "1 file" if unreadable == 1 else f"{unreadable:,} files"
        screen.note(f"{files} cannot be read as a session. 'localstore check' says why.")
    if not sessions:
        screen.note("There are no sessions yet. Your first question starts one.")
    elif len(sessions) > _MAX_LISTED:
        screen.note("... and older ones. 'localstore ls --all' lists them.")


def _open(conversation: Conversation, text: str) -> None:
    screen = conversation.screen
    if not text:
        screen.show_error(
            "Which session? Type /open and its number in /sessions, its id, its name, or the beginning of its id."
        )
        return
    sessions = conversation.list_sessions()
    named = exactly_named(sessions, text)
    if named is None and (numbered := _by_number(conversation, sessions, text)) is not None:
        _enter(conversation, numbered)
        return
    storage = conversation.store("/open")
    if named is None:
        with contextlib.suppress(SessionNotFound):
            storage.path(text)  # raises for an unreadable file with exactly this id
        named = beginning_with(sessions, text)
    if named is not None and len(named.sessions) == 1:
        _enter(conversation, named.sessions[0].session_id)
    elif named is not None:
        several = f"{len(named.sessions)} sessions {named.how} {escaped(text)}"
        screen.show_error(f"{several}. Give the whole id of one: {_candidates(named.sessions)}")
    elif similar := similar_to(sessions, text):
        screen.show_error(f"No session matches {escaped(text)}. Give the id of one of these: {_candidates(similar)}")
    else:
        other = exactly_named(storage.list_sessions(user_id=conversation.agent.user_id), text)
        why = "" if other is None else f"A session of kind {other.sessions[0].kind} does, which is not for this chat. "
        screen.show_error(f"No session matches {escaped(text)}. {why}/sessions lists them.")


def _enter(conversation: Conversation, session_id: str) -> None:
    conversation.agent.load_session(session_id)
    conversation.enter_session()


def _candidates(sessions: list[SessionInfo]) -> str:
    """Return the ids and names of sessions for an error, at most _MAX_CANDIDATES of them."""
    shown = [
        escaped(session.session_id) + (f" ({escaped(session.title)})" if session.title else "")
        for session in sessions[:_MAX_CANDIDATES]
    ]
    left = len(sessions) - len(shown)
    return ", ".join(shown) + (f", and {left:,} more." if left else ".")


def _by_number(conversation: Conversation, sessions: list[SessionInfo], text: str) -> str | None:
    """Return the id of the session with this number in the last listing, or in a new one; None if there is none."""
    if not text.isdecimal():
        return None
    ids = [session.session_id for session in sessions]
    matches = _numbered(conversation.listed, int(text)) or _numbered(ids, int(text))
    return matches[0] if matches else None


def _numbered(ids: list[str], number: int) -> list[str]:
    """Return the id with this number (from 1) in a list, or an empty list if there is none."""
    return ids[number - 1 : number] if number else []


def _new(conversation: Conversation, _: str) -> None:
    conversation.agent.new_session()
    conversation.enter_session()


def _rename(conversation: Conversation, name: str) -> None:
    if not name:
        conversation.screen.show_error("Which name? Type /rename NAME.")
    elif conversation.read_session(last_runs=0) is None:
        conversation.screen.show_error("This session starts with its first question. Rename it after that.")
    else:
        conversation.agent.rename_session(name)
        conversation.screen.note(f"Renamed this session to {one_line(name)}.")


def _fork(conversation: Conversation, text: str) -> None:
    agent, screen = conversation.agent, conversation.screen
    run_id = None
    if text:
        session = conversation.read_session(last_runs=None)
        ids = [run.run_id for run in session.runs] if session is not None else []
        by_id = [one for one in ids if one.startswith(text)]
        matches = _numbered(ids, int(text)) if text.isdecimal() else by_id  # a number is never the beginning of an id
        if len(matches) != 1:
            screen.show_error(f"No run matches {one_line(text)}. Give a number from 1 to {len(ids)}, or a run's id.")
            return
        run_id = matches[0]
    original = agent.session_id
    agent.fork(run_id)
    screen.note(f"Forked. Session {one_line(original)} is unchanged.")
    conversation.enter_session()


def _undo(conversation: Conversation, _: str) -> None:
    note = conversation.screen.note
    removed = conversation.remove_last_run()
    if removed is None:
        note("There is nothing to undo.")
        return
    run, name = removed
    note(f"Removed: {one_line(run.question, 60)}")
    note("To restore it, run:")
    note(f"localstore rescue {shlex.quote(name)} --restore", wrapped=False)


def _retry(conversation: Conversation, _: str) -> bool:
    return conversation.retry()


def _state(conversation: Conversation, _: str) -> None:
    session = conversation.read_session(last_runs=0)
    state = session.session_state if session is not None else conversation.agent.session_state
    conversation.screen.show(json.dumps(state, indent=2, ensure_ascii=False, default=str))


# Questions


def _multi(conversation: Conversation, beginning: str) -> bool:
    conversation.screen.note(f"Type your message, and {_END} on a line of its own to send it. Ctrl-C drops it.")
    try:
        text = conversation.keyboard.read_block(_END)
    except UnicodeDecodeError as error:
        conversation.screen.show_error(f"This is not {error.encoding}. The message was ignored.")
        return True
    return _ask(conversation, f"{beginning}\n{text}")


def _edit(conversation: Conversation, beginning: str) -> bool:
    if conversation.editor is None or not conversation.keyboard.is_terminal:
        conversation.screen.show_error("There is no editor here. Type /multi to write several lines.")
        return True
    ECHO.show()
    text = conversation.editor(beginning)
    text = text.strip()
    conversation.keyboard.add_history([text])
    if text:
        conversation.screen.note(f"> {one_line(text)}")
    return _ask(conversation, text)


def _ask(conversation: Conversation, text: str) -> bool:
    text = text.strip()
    if not text:
        conversation.screen.note("The message is empty. Nothing was asked.")
        return True
    return conversation.ask(text)


def _model(conversation: Conversation, name: str) -> None:
    model = conversation.agent.model
    if not name:
        conversation.screen.show(one_line(model.id))
    elif isinstance(model, OpenAIChat):
        conversation.agent.model = model.with_id(name)
        conversation.screen.note(f"The next questions are for {one_line(name)}.")
    else:
        conversation.screen.show_error(f"This agent asks {one_line(model.id)}, which is not a model on a server.")


def _quit(conversation: Conversation, _: str) -> None:
    conversation.is_over = True


_ALL = (
    Command("/help", "", "list the commands", _help, needs_storage=False),
    Command("/sessions", "", "list your sessions, newest first", _sessions),
    Command("/open", "SESSION", "continue another session: its number in /sessions, its id or its name", _open),
    Command("/new", "", "start a new session", _new, needs_storage=False),
    Command("/rename", "NAME", "rename this session", _rename),
    Command("/fork", "[RUN]", "continue in a copy of this session, up to its last run or run number RUN", _fork),
    Command("/undo", "", "remove the last question and its answer", _undo),
    Command("/retry", "", "ask the last question again", _retry, needs_storage=False),
    Command("/multi", "", f"write a message of several lines; {_END} sends it", _multi, needs_storage=False),
    Command("/edit", "[TEXT]", "write a message in your editor", _edit, needs_storage=False),
    Command("/model", "[NAME]", "show the model, or ask another one from now on", _model, needs_storage=False),
    Command("/state", "", "show the state of the session", _state, needs_storage=False),
    Command("/quit", "", "leave", _quit, needs_storage=False),
)
COMMANDS = {command.name: command for command in _ALL}
_ALIASES = {"/bye": "/quit", "/exit": "/quit"}
_SYNONYMS = {
    **dict.fromkeys(("/ls", "/list", "/history"), "/sessions"),
    **dict.fromkeys(("/load", "/resume", "/continue", "/switch", "/session"), "/open"),
    **dict.fromkeys(("/clear", "/reset"), "/new"),
    "/paste": "/multi",
    "/name": "/rename",
    "/?": "/help",
}
"""Names that other programs have for a command."""
