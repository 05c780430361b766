"""Completes commands, options, sessions, and values of options in bash, zsh and fish.

Click knows the commands and the options. What the parameters of a command take is looked up here, by their names. A
store that cannot be read has nothing to complete: errors and notes would end up in the middle of what is being typed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, get_args

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from localstore.models.filter import LISTED

from .output import one_line
from .store_option import open_store

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo
    from localstore.storage.contract import SessionStorage

Shell = Literal["bash", "zsh", "fish"]
SHELLS: tuple[Shell, ...] = get_args(Shell)
_VARIABLE = "_LOCALSTORE_COMPLETE"
_MOST = 50
"""The most sessions or values that are offered."""
_NEWEST = 500
"""Users, tags and other values are those of so many of the newest sessions, so that the cost has a limit."""
_LONGEST_TITLE = 60


class _Bash(BashComplete):
    """Completion in bash, where a word may contain any character.

    Bash breaks words at characters such as `:`, and replaces only the part behind the last one. So the script hands
    over the line up to the cursor and the part that will be replaced.
    """

    source_template = """\
%(complete_func)s() {
    local kind value
    COMPREPLY=()
    while IFS=',' read -r kind value; do
        case "$kind" in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(env COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_CWORD="$2" %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s 2>/dev/null || complete -F %(complete_func)s %(prog_name)s
"""

    def source(self) -> str:
        return self.source_template % self.source_vars()  # the version of bash does not matter to this script

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{item.value if item.type != 'plain' else self._reply(item.value)}"

    def _reply(self, value: str) -> str:
        """Return what bash puts in place of the word that it replaces."""
        replaced, (_, incomplete) = os.environ["COMP_CWORD"], self.get_completion_args()
        if incomplete.endswith(replaced) and value.startswith(incomplete):
            value = value[len(incomplete) - len(replaced) :]
        is_quoted = os.environ["COMP_WORDS"].removesuffix(replaced).endswith(("'", '"'))
        return value if is_quoted else re.sub(r"([^\w@%+=:,./~-])", r"\\\1", value)


_CLASSES: dict[Shell, type[ShellComplete]] = {"bash": _Bash, "zsh": ZshComplete, "fish": FishComplete}


def script(group: click.Command, shell: Shell) -> str:
    """Return the script that makes a shell complete the command."""
    return _CLASSES[shell](group, {}, "localstore", _VARIABLE).source()


def answer(group: click.Command, instruction: str) -> str:
    """Return what the script of a shell asks for, such as with `bash_complete`; "" if it cannot be found out.

    `bash_source` asks for the script itself.
    """
    name, _, wanted = instruction.partition("_")
    for shell in SHELLS:
        if shell == name and wanted == "source":
            return script(group, shell)
        if shell == name and wanted == "complete":
            with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
                add_completions(group)
                completions = _CLASSES[shell](group, {}, "localstore", _VARIABLE).complete()
                return f"{completions}\n" if completions else ""
    return ""


class _Stored(click.types.StringParamType):
    """The type of a parameter that takes text, and is completed with what a store has."""

    def __init__(self, find: Callable[[SessionStorage, str], list[CompletionItem]]) -> None:
        self._find = find

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return what the store of the command line has that begins with the incomplete word."""
        given = ctx.params.get(param.name or "")
        with ctx.scope(cleanup=False):
            found = self._find(open_store(ctx.params.get("store")), incomplete)
        return [item for item in found if not isinstance(given, tuple) or item.value not in given]


class _Place(click.types.StringParamType):
    """The type of a parameter that takes a path, which the shell completes. Unlike `click.Path`, it checks nothing."""

    def __init__(self, kind: Literal["dir", "file"]) -> None:
        self._kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 (click's signature)
        """Return the item that asks the shell to complete the path."""
        return [CompletionItem(incomplete, type=self._kind)]


def _sessions(storage: SessionStorage, beginning: str) -> list[CompletionItem]:
    found = (
        storage.sessions_beginning_with(beginning, _MOST)
        if beginning
        else storage.list_sessions(where=LISTED, limit=_MOST)
    )
    return [CompletionItem(one_line(info.session_id), help=_title(info)) for info in found]


def _title(info: SessionInfo) -> str | None:
    title = one_line(info.title or "")
    return (title if len(title) <= _LONGEST_TITLE else f"{title[:_LONGEST_TITLE]}…") or None


def _values(of: Callable[[SessionInfo], Iterable[str | None]]) -> _Stored:
    """Return the type of a parameter that takes a value which the newest sessions have."""

    def find(storage: SessionStorage, beginning: str) -> list[CompletionItem]:
        found = dict.fromkeys(value for info in storage.list_sessions(limit=_NEWEST) for value in of(info) if value)
        matching = [one_line(value) for value in found if value.startswith(beginning)]
        return [CompletionItem(value) for value in matching[:_MOST]]

    return _Stored(find)


_SESSIONS = _Stored(_sessions)
_TAGS = _values(lambda info: info.tags)
_TYPES: dict[str, _Stored | _Place] = {
    "session": _SESSIONS,
    "other": _SESSIONS,
    "sessions": _SESSIONS,
    "part_of": _SESSIONS,
    "user": _values(lambda info: [info.user_id]),
    "entity": _values(lambda info: [info.entity_id]),
    "model": _values(lambda info: info.models),
    "tag": _TAGS,
    "tags": _TAGS,
    "store": _Place("dir"),
    "folder": _Place("dir"),
    "source": _Place("dir"),
    "target": _Place("dir"),
    "path": _Place("file"),
    "file": _Place("file"),
    "price_file": _Place("file"),
    "tools": _Place("file"),
}
"""What completes the parameters with these names, in every command."""


def add_completions(command: click.Command) -> None:
    """Let the parameters of a command that take any text be completed, by their names."""
    for parameter in command.params:
        if parameter.name in _TYPES and type(parameter.type) is click.types.StringParamType:
            parameter.type = _TYPES[parameter.name]
