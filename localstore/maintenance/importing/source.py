"""The sessions that a source yields, in the form of documents, and the parts of it that could not be read."""

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from localstore.format.values import json_equal

Kind = Literal["claude-code", "codex", "llm", "chatgpt", "openai-agents", "adk", "agno", "atif"]
"""The programs and formats whose sessions can be imported."""

KINDS: tuple[Kind, ...] = get_args(Kind)

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SourceSession:
    """A session of a source: the header and the entries of the document that it becomes, as plain values."""

    header: dict[str, Any]
    entries: list[Entry]
    path: str
    """The file that it comes from."""
    forks: "Sequence[SourceSession]" = ()
    """Its other branches, which are sessions of their own and were yielded before it."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A part of a source that is not imported. `problem` is a clause that says why.

    `path` is the file, `line` its line or row, counted from 1, if there is one, and `session_id` the session, if it is
    known.

    >>> print(Skipped("log.jsonl", "it is not a JSON object", line=3))
    log.jsonl, line 3: it is not a JSON object
    """

    path: str
    problem: str
    line: int | None = None
    session_id: str | None = None

    def __str__(self) -> str:
        place = "" if self.line is None else f", line {self.line}"
        place += "" if self.session_id is None else f", session {self.session_id}"
        return f"{self.path}{place}: {self.problem}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that are not None as plain JSON values."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None}


Items = Iterator[SourceSession | Skipped]

Reader = Callable[[Path], Items]
"""A function that reads the sessions of a source, one at a time. It raises OSError if the source cannot be opened."""


def open_file(path: Path) -> BinaryIO:
    """Open a file of a source for reading. Raises OSError if it cannot be opened, or if it is a pipe or a device.

    Opening a named pipe would wait for a program that writes to it.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(
            errno.EINVAL, "This is a pipe or a device. Write its content to a file, and import that", str(path)
        )
    return path.open("rb")


def new_header(
    kind: Kind, session_id: str, created_at: str, *, name: object = None, metadata: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the header for the session of an agent. Its metadata name the source in `imported_from`.

    Args:
        kind: The source.
        session_id: The id of the session.
        created_at: When it began.
        name: Its name. Anything but text that is not blank is ignored.
        metadata: What else the source knows of it. Values that are None are left out.
    """
    header: dict[str, Any] = {"schema_version": 1, "session_id": session_id, "kind": "agent"}
    if isinstance(name, str) and name.strip():
        header["name"] = " ".join(name.split())
    known = {key: value for key, value in (metadata or {}).items() if value is not None}
    header["metadata"] = {"imported_from": kind, **known}
    header["created_at"] = created_at
    return header


def item_entry(source: str, item_id: str, created_at: str, data: Any, state: dict[str, Any] | None = None) -> Entry:
    """Return the entry for a value of another framework, in the form in which its adapter stores it.

    `state` is the state of the session from then on; None leaves it unchanged.
    """
    entry: Entry = {"type": "item", "item_id": item_id, "created_at": created_at, "source": source}
    return entry | ({} if state is None else {"session_state": state}) | {"data": data}


def fork_header(
    header: dict[str, Any], session_id: str, created_at: str | None, main: list[Entry], entries: list[Entry]
) -> dict[str, Any]:
    """Return the header of a fork, which names the session that it was made from, and the last run that is the same.

    Args:
        header: The header of the session.
        session_id: The id of the fork.
        created_at: When the fork left the session; None if that is not known.
        main: The history of the session.
        entries: The history of the fork.
    """
    runs = {entry["run_id"]: entry for entry in main if "run_id" in entry}
    shared = [entry["run_id"] for entry in entries if json_equal(runs.get(entry.get("run_id", "")), entry)]
    fork = {**header, "session_id": session_id}
    if "name" in header:
        fork["name"] = f"{header['name']} (fork)"
    fork["forked_from"] = {"session_id": header["session_id"]} | ({"run_id": shared[-1]} if shared else {})
    return {**fork, "created_at": created_at or header["created_at"]}
