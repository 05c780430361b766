"""Read the lines of a session of Claude Code: what each line is, and which line it follows."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localstore.maintenance.importing import json_text
from localstore.maintenance.importing.fields import text
from localstore.maintenance.importing.source import Skipped

OF_SESSION = ("sessionId", "cwd", "gitBranch", "version", "userType", "entrypoint", "slug")
"""Keys that most lines repeat. The metadata of the session have the first values; a line keeps what differs."""
_TITLES = {"summary": "summary", "ai-title": "aiTitle", "custom-title": "customTitle"}


@dataclass(slots=True)
class Node:
    """A line with a message of the user or of the model."""

    id: str
    line: dict[str, Any]
    message: dict[str, Any]
    following: list[dict[str, Any]] = field(default_factory=list)
    """The lines without a message that come after it in the file."""


@dataclass(slots=True)
class SessionFile:
    """The lines of one file, in order."""

    path: Path
    nodes: dict[str, Node] = field(default_factory=dict)
    parents: dict[str, str | None] = field(default_factory=dict)
    side: dict[str, list[Node]] = field(default_factory=dict)
    """The messages of each subagent."""
    agents: dict[str, str] = field(default_factory=dict)
    """The subagent of each message in `side`."""
    common: dict[str, Any] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    leading: list[dict[str, Any]] = field(default_factory=list)


def load(content: SessionFile, path: Path, agent: str | None = None) -> Iterator[Skipped]:
    """Add the lines of a file to `content`, and yield those that cannot be read.

    `agent` is the id of the subagent whose file it is; None for the file of the session. Raises OSError.
    """
    last: Node | None = None
    for item in json_text.objects(path):
        if isinstance(item, Skipped):
            yield item
            continue
        number, line = item
        kind = text(line.get("type"))
        if kind in _TITLES and isinstance(line.get(_TITLES[kind]), str):
            if "leafUuid" not in line or text(line["leafUuid"]) in content.nodes:
                content.titles[kind] = line[_TITLES[kind]]
            continue
        key = text(line.get("uuid")) or f"{path.name}:{number}"
        if agent is None and line.get("isSidechain") is not True:
            for name in OF_SESSION if len(content.common) < len(OF_SESSION) else ():
                if name not in content.common and isinstance(line.get(name), str):
                    content.common[name] = line[name]
        if kind not in ("user", "assistant"):
            if agent is None:
                parent = line.get("logicalParentUuid") if line.get("parentUuid") is None else line["parentUuid"]
                content.parents.setdefault(key, _parent(content, parent, last))
            (content.leading if last is None else last.following).append(line)
            continue
        message = line.get("message")
        if not isinstance(message, dict) or not isinstance(message.get("content"), (str, list)):
            yield Skipped(str(path), f"it is a line of type {kind} without a message", number)
            continue
        node = Node(key, line, message)
        if agent is not None or line.get("isSidechain") is True:
            # Without its id, a subagent is known by the first of its messages.
            own = agent or text(line.get("agentId")) or content.agents.get(text(line.get("parentUuid")) or "") or key
            content.agents[key] = own
            content.side.setdefault(own, []).append(node)
            if agent is not None:
                last = node
            continue
        if key in content.nodes:
            if content.nodes[key].line == line:
                continue
            node.id = f"{key}:{number}"
        parent = line.get("parentUuid")
        if parent is None and line.get("isCompactSummary") is True and last is not None:
            parent = last.id
        content.parents[node.id] = _parent(content, parent, last)
        content.nodes[node.id] = node
        last = node


def _parent(content: SessionFile, parent: Any, last: Node | None) -> str | None:
    """Return the parent of a line. If its own is missing, because a line could not be read, it is the line before."""
    if parent is None or (isinstance(parent, str) and parent in content.parents):
        return parent
    return last.id if last is not None else None
