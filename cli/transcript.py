"""Formats a session as text: its header and then its entries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from localstore.format.item_messages import item_messages
from localstore.models.figures import counted
from localstore.models.times import time_text
from localstore.storage.plain_session import PlainSession, plain_entry

from .local_times import local_time, when
from .pieces import Piece, folded

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo

STEP = 2
"""The columns of one level of indentation."""
IN_HEADING = ("type", "run_id", "created_at", "model", "status")
IMPORTED = "imported"
"""The key of what the source of an imported session has beyond the fields of a document."""
WHO = ("agent_id", "team_id", "workflow_id")
COLOURS = {"user": "bold green", "assistant": "bold cyan", "tool": "bold magenta"}
STATUS_COLOURS = {"error": "bold red"} | dict.fromkeys(("unfinished", "waiting", "cancelled", "rejected"), "yellow")


class Transcript:
    """Formats a session as pieces of text.

    If `person` is true, times are local. If `fold` is true, long tool output and the details of members' runs are
    shortened, and what an import kept in the key `imported` is left out.
    """

    def __init__(self, *, person: bool, fold: bool) -> None:
        self.person = person
        self.fold = fold

    def title(self, info: SessionInfo) -> Iterator[Piece]:
        """Yield the session's title, and one line about it."""
        title = info.title or info.session_id
        yield Piece(compact(title), style="bold")
        about = [] if title == info.session_id else [info.session_id]
        about.append(f"{info.kind} {info.entity_id}" if info.entity_id else info.kind)
        about += [info.user_id] if info.user_id else []
        about.append(counted(info.runs, "run"))
        about += [] if info.updated_at is None else [when(time_text(info.updated_at))]
        about += [f"part of {info.part_of}"] if info.part_of else []
        about += [f"#{tag}" for tag in info.tags]
        yield Piece(compact(" · ".join(about)), style="dim")

    def header(self, session: PlainSession, info: SessionInfo) -> Iterator[Piece]:
        """Yield the session's header, and the current values that were set by entries not in `session.history`."""
        fields = dict(session.header)
        for name in ("$schema", "schema_version"):
            fields.pop(name, None)
        if "created_at" in fields:
            fields["created_at"] = self.time(str(fields["created_at"]))
        fields |= {
            "updated_at": self.time("" if info.updated_at is None else time_text(info.updated_at)),
            "runs": info.runs,
            **({"path": str(info.path)} if info.has_file else {}),
        }
        width = max(len(name) for name in fields if len(name) <= 16)
        for name, value in fields.items():
            yield Piece(f"{name:<{width}}  {self.folded(compact(value))}")
        for name, value in session.current.items():
            if all(entry.get(name) is None for entry in session.history):
                yield from self.field(f"{name} (from earlier)", value, 0)

    def entry(self, entry: dict[str, Any], number: int | None = None, indent: int = 0) -> Iterator[Piece]:
        """Yield one valid entry of the history, or, with `indent`, the run of a member inside it."""
        fields = dict(entry)
        is_run = fields.get("type") == "run"
        if messages := item_messages(fields):
            fields["messages"] = messages
            del fields["data"]
            if self.person:
                del fields["item_id"]
        words = [str(fields.get("type", "entry")), *([f"{number}"] if number else [])]
        if indent:
            words = ["member", *(compact(fields.pop(name)) for name in WHO if name in fields)]
            if self.person:
                fields.pop("tool_call_id", None)
        heading = [" ".join(words)]
        for name in IN_HEADING[1:]:
            if name in fields and not (self.person and name == "run_id"):
                heading.append(self.time(fields[name]) if name == "created_at" else compact(fields[name]))
        style = STATUS_COLOURS.get(str(fields.get("status")), "bold")
        yield Piece("  ".join(heading), indent, style if indent == 0 else style.replace("bold ", ""))
        calls: dict[str, str] = {}
        for name, value in fields.items():
            if name not in IN_HEADING:
                if is_run or (messages and name == "messages"):
                    yield from self.part(name, value, indent + STEP, calls, is_nested=indent > 0)
                else:
                    yield from self.field(name, value, indent + STEP, "red" if name == "error" else "")

    def unchecked_entry(self, fields: dict[str, Any]) -> Iterator[Piece]:
        """Yield an entry that may not be valid, with all its fields."""
        entry = plain_entry(fields)
        if entry is None:
            yield from self.field(str(fields.get("type", "entry")), fields, 0)
        else:
            yield from self.entry(entry)

    def part(
        self, name: str, value: Any, indent: int, calls: dict[str, str], *, is_nested: bool = False
    ) -> Iterator[Piece]:
        """Yield one field of a run or a step. `calls` collects the names of tools by the id of the call.

        With `fold`, only the question and the answer of a member's run or a step are shown.
        """
        if name == "messages":
            between = len(value) - 2 if is_nested and self.fold else 0
            for at, message in enumerate(value):
                if between <= 1 or at in (0, len(value) - 1):
                    yield from self.message(message, indent, calls)
                elif at == 1:
                    yield Piece(f"… {between:,} more messages", indent, "dim")
        elif name == "member_runs":
            for run in value:
                yield from self.entry(run, indent=indent)
        elif name == "steps":
            for step in value:
                yield from self.step(step, indent)
        elif name == IMPORTED and self.fold:
            return
        elif name == "metrics":
            text = ", ".join(f"{key} {compact(number)}" for key, number in value.items())
            yield Piece(f"{name}  {text}", indent, "dim")
        else:
            yield from self.field(name, value, indent, "red" if name == "error" else "")

    def step(self, step: dict[str, Any], indent: int) -> Iterator[Piece]:
        """Yield one step of a workflow, with its heading."""
        fields = dict(step)
        within = fields.pop("within", [])
        where = [compact(name) for name in within] if isinstance(within, list) else [compact(within)]
        heading = ["step " + " / ".join([*where, compact(fields.pop("name", ""))])]
        heading.append(self.time(str(fields.pop("created_at", ""))))
        status = compact(fields.pop("status", ""))
        style = STATUS_COLOURS.get(status, "bold")
        yield Piece("  ".join([*heading, status]).rstrip(), indent, style)
        calls: dict[str, str] = {}
        for name, value in fields.items():
            yield from self.part(name, value, indent + STEP, calls, is_nested=True)

    def message(self, message: dict[str, Any], indent: int, calls: dict[str, str]) -> Iterator[Piece]:
        """Yield one message: its role, its text, its tool calls, and unknown keys."""
        fields = dict(message)
        role = fields.pop("role")
        name = fields.pop("name", None) or calls.get(fields.get("tool_call_id", ""))
        yield Piece(compact(f"{role} {name}" if name else role), indent, COLOURS.get(role, "bold"))
        fields.pop("tool_call_id", None)
        indent += STEP
        content = fields.pop("content", "")
        for text in [content] if isinstance(content, str) else [_part_text(part) for part in content]:
            if text:
                folded = self.folded(text) if role == "tool" else text.rstrip("\n")
                yield Piece(folded, indent, markdown=role == "assistant")
        for call in fields.pop("tool_calls", ()):
            calls[call.get("id", "")] = call["name"]
            rest = {key: value for key, value in call.items() if key not in ("id", "name", "arguments")}
            text = f"calls {compact(call['name'])}({compact(call['arguments'])})" + (
                f" {compact(rest)}" if rest else ""
            )
            yield Piece(self.folded(text), indent, "magenta")
        for key, value in fields.items():
            if key != IMPORTED or not self.fold:
                yield from self.field(key, value, indent)

    def field(self, name: str, value: Any, indent: int, style: str = "") -> Iterator[Piece]:
        """Yield a key and its value: on one line if the value is short, otherwise the value below the key."""
        text = value if isinstance(value, str) else compact(value)
        if not isinstance(value, str) and len(text) > 80:
            text = json.dumps(value, indent=2, ensure_ascii=False)
        if "\n" not in text and len(text) <= 80:
            yield Piece(f"{name}  {text}", indent, style)
        else:
            yield Piece(name, indent, style)
            yield Piece(self.folded(text), indent + STEP, style)

    def time(self, text: str) -> str:
        """Return a time of the document: in the local time zone for a person, otherwise unchanged."""
        return local_time(text) if self.person else text

    def folded(self, text: str) -> str:
        """Return the text without trailing newlines, and shortened if `fold` is true."""
        text = text.rstrip("\n")
        return folded(text) if self.fold else text


def compact(value: Any) -> str:
    """Return a value on one line: text unchanged, anything else as JSON."""
    return value.replace("\n", "\\n") if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _part_text(part: dict[str, Any]) -> str:
    text: str = part["text"] if part.keys() == {"type", "text"} else f"[{compact(part)}]"
    return text
