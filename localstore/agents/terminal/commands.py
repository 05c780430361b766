"""What a person can do in a talk besides asking: lines that begin with a slash."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localstore.agents.terminal.problems import problem
from localstore.agents.terminal.screen import short

if TYPE_CHECKING:
    from localstore.agents.terminal.chat import Chat
    from localstore.models.session_info import SessionInfo

_LISTED = 20
_WIDE = 80
"""Columns from which on a session is listed on one line."""
_NO_STORAGE = "This agent has no storage, and keeps one session in memory."


@dataclass(frozen=True, slots=True)
class Command:
    """`do` is given the talk and what stands behind the command's name; it returns False when no answer came."""

    name: str
    argument: str
    says: str
    do: Callable[[Chat, str], bool | None]
    needs_storage: bool = True


def obey(chat: Chat, line: str) -> bool:
    """Do what the line says. Returns False when a question was asked and not answered."""
    words = line.split(maxsplit=1)
    name, argument = words[0].casefold(), words[1].strip() if len(words) > 1 else ""
    command = COMMANDS.get(_ALIASES.get(name, name))
    if command is None:
        chat.screen.complain(
            f"There is no {short(words[0])}. {_meant(name)} A question is asked with a blank before /."
        )
        return True
    if command.needs_storage and not chat.has_storage:
        chat.screen.complain(_NO_STORAGE)
        return True
    try:
        return command.do(chat, argument) is not False
    except BrokenPipeError:
        raise  # nobody reads
    except Exception as error:  # noqa: BLE001 - whatever it is, the talk goes on
        chat.screen.complain(problem(error))
        return True


def _meant(name: str) -> str:
    known = [*COMMANDS, *_ALIASES]
    near = [one for one in known if one.startswith(name)][:1] or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else "/help lists the commands."


def _help(chat: Chat, _: str) -> None:
    rows = [(f"{one.name} {one.argument}".rstrip(), one.says) for one in COMMANDS.values()]
    rows += [("bye", "leave; so do exit, quit and Ctrl-D"), ("Ctrl-C", "stop the answer")]
    rows += [("... \\", "a line that ends in a backslash goes on in the next one")]
    chat.screen.show_rows(rows)


# Sessions


def _rows(chat: Chat) -> list[SessionInfo]:
    """The sessions of this user, newest first."""
    storage: Any = chat.agent.storage
    rows: list[SessionInfo] = storage.list_sessions(user_id=chat.agent.user_id, kind=chat.agent.kind)
    return rows


def _sessions(chat: Chat, _: str) -> None:
    rows = _rows(chat)
    chat.listed = [row.session_id for row in rows[:_LISTED]]
    shown: list[tuple[str, ...]] = []
    for number, row in enumerate(rows[:_LISTED], 1):
        name = f"{short(row.name)}  " if row.name else ""
        here = ", this one" if row.session_id == chat.agent.session_id else ""
        runs = "1 run" if row.runs == 1 else f"{row.runs:,} runs"
        shown.append((str(number), f"{name}{short(row.session_id)}", f"{row.updated_at[:10]}, {runs}{here}"))
    if chat.screen.width < _WIDE:
        shown = [(number, f"{session}\n{more}") for number, session, more in shown]
    chat.screen.show_rows(shown)
    if not rows:
        chat.screen.say("There is no session yet. The first question begins one.")
    elif len(rows) > _LISTED:
        chat.screen.say(f"... and {len(rows) - _LISTED:,} older ones. 'localstore ls --all' lists them.")


def _open(chat: Chat, wanted: str) -> None:
    if not wanted:
        chat.screen.complain("Say which one: /open 2 (see /sessions), or its id, its name, the beginning of its id.")
        return
    rows = _rows(chat)
    found = [row.session_id for row in rows if row.session_id == wanted]
    found = found or [row.session_id for row in rows if row.name == wanted]
    if not found and wanted.isdecimal():
        found = _numbered(chat.listed, int(wanted)) or _numbered([row.session_id for row in rows], int(wanted))
    found = found or [row.session_id for row in rows if row.session_id.startswith(wanted)]
    if len(found) != 1:
        several = ", ".join(short(one) for one in found[:5])
        said = f"Several sessions fit: {several}." if found else f"No session is called {short(wanted)}."
        chat.screen.complain(f"{said} /sessions lists them.")
        return
    chat.agent.load_session(found[0])
    chat.greet()


def _numbered(ids: list[str], number: int) -> list[str]:
    return ids[number - 1 : number] if number else []


def _new(chat: Chat, _: str) -> None:
    chat.agent.new_session()
    chat.greet()


def _rename(chat: Chat, name: str) -> None:
    if not name:
        chat.screen.complain("Say how: /rename NAME")
    elif chat.agent.read(chat.agent.session_id, chat.agent.user_id, 0) is None:
        chat.screen.complain("This session begins with its first question. Name it after that.")
    else:
        chat.agent.rename_session(name)
        chat.screen.say(f"This session is called {short(name)} now.")


def _fork(chat: Chat, wanted: str) -> None:
    agent = chat.agent
    run_id = None
    if wanted:
        session = agent.storage.read(agent.session_id, user_id=agent.user_id)
        ids = [run.run_id for run in session.runs] if session is not None else []
        by_id = [one for one in ids if one.startswith(wanted)]
        found = _numbered(ids, int(wanted)) if wanted.isdecimal() else by_id  # a number is never part of an id
        if len(found) != 1:
            chat.screen.complain(
                f"No run is called {short(wanted)}. Give a number from 1 to {len(ids)}, or a run's id."
            )
            return
        run_id = found[0]
    before = agent.session_id
    agent.fork(run_id)
    chat.screen.say(f"Forked. {short(before)} stays as it is.")
    chat.greet()


def _undo(chat: Chat, _: str) -> None:
    undone = chat.take_out()
    if undone is None:
        chat.screen.say("There is nothing to take out.")
        return
    run, name = undone
    chat.screen.say(f"Taken out: {short(run.question, 60)}")
    chat.screen.say("To put it back:")
    chat.screen.say(f"localstore rescue {shlex.quote(name)} --restore", wrapped=False)


def _retry(chat: Chat, _: str) -> bool:
    return chat.retry()


def _state(chat: Chat, _: str) -> None:
    session = chat.agent.read(chat.agent.session_id, chat.agent.user_id, 0)
    state = session.session_state if session is not None else chat.agent.session_state
    chat.screen.show(json.dumps(state, indent=2, ensure_ascii=False, default=str))


def _quit(chat: Chat, _: str) -> None:
    chat.leave()


_ALL = (
    Command("/help", "", "list the commands", _help, needs_storage=False),
    Command("/sessions", "", "list your sessions, newest first", _sessions),
    Command("/open", "SESSION", "go on in another one: its number in /sessions, its id or its name", _open),
    Command("/new", "", "begin a new session", _new, needs_storage=False),
    Command("/rename", "NAME", "name this session", _rename),
    Command("/fork", "[RUN]", "go on in a copy of this session, up to its last run or to run number RUN", _fork),
    Command("/undo", "", "take the last question and its answer out", _undo),
    Command("/retry", "", "ask the last question again", _retry, needs_storage=False),
    Command("/state", "", "show the session's state", _state, needs_storage=False),
    Command("/quit", "", "leave", _quit, needs_storage=False),
)
COMMANDS = {command.name: command for command in _ALL}
_ALIASES = {"/bye": "/quit", "/exit": "/quit"}
