"""Sessions of Claude Code: one JSON Lines file per session below `~/.claude/projects`.

Each line has a `uuid` and names its parent, so a file is a tree: going back to an earlier question makes a branch. The
branch of the newest message becomes the session, and each other one a fork. A compaction does not end a session: what
came before it is kept.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localstore.maintenance.importing import json_text
from localstore.maintenance.importing.fields import NO_TIME, count, items, mapping, text, time
from localstore.maintenance.importing.parts import anthropic_part, arguments, simplified
from localstore.maintenance.importing.runs import IMPORTED, Turn, group, in_order
from localstore.maintenance.importing.source import Entry, Items, Skipped, SourceSession, fork_header, new_header
from localstore.maintenance.importing.tree import fork_id, way_to

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PROGRAM_TEXT = re.compile(r"<(local-command-stdout|local-command-stderr|bash-stdout|bash-stderr)>")
"""How a user's line begins that holds the output of a command, which the program ran without the model."""
_INTERRUPTED = "[Request interrupted by user"
_OUTPUT_FILE = re.compile(r"tool-results[/\\]([\w.-]+)")
_OF_SESSION = ("sessionId", "cwd", "gitBranch", "version", "userType", "entrypoint", "slug")
"""Keys that most lines repeat. The metadata of the session have the first values; a line keeps what differs."""
_METADATA = ("cwd", "gitBranch", "version")
_USED = ("type", "uuid", "parentUuid", "timestamp", "message", "isSidechain")
_TITLES = {"summary": "summary", "ai-title": "aiTitle", "custom-title": "customTitle"}


@dataclass(slots=True)
class _Node:
    """A line with a message of the user or of the model."""

    id: str
    line: dict[str, Any]
    message: dict[str, Any]
    following: list[dict[str, Any]] = field(default_factory=list)
    """The lines without a message that come after it in the file."""


@dataclass(slots=True)
class _File:
    """The lines of one file, in order."""

    path: Path
    nodes: dict[str, _Node] = field(default_factory=dict)
    parents: dict[str, str | None] = field(default_factory=dict)
    side: dict[str, list[_Node]] = field(default_factory=dict)
    """The messages of each subagent."""
    common: dict[str, Any] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    leading: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Member:
    """The run of a subagent, and the id of the tool call that started it, if it is known."""

    run: Entry
    call_id: str | None


def read(path: Path) -> Items:
    """Yield the sessions of Claude Code in a file, in the folder of a project, or below `~/.claude`."""
    if path.is_file():
        yield from _sessions(path, [], {})
        return
    root = path / "projects" if (path / "projects").is_dir() else path
    files = sorted(root.rglob("*.jsonl"))
    if not files:
        yield Skipped(str(path), "there is no session (*.jsonl) in it")
    agents: list[Path] = []
    sessions: list[Path] = []
    for file in files:
        of_agent = "subagents" in file.relative_to(root).parts or file.name.startswith("agent-")
        (agents if of_agent else sessions).append(file)
    owners: dict[Path, list[Path]] = {}
    for file in agents:
        owners.setdefault(_owner(file), []).append(file)
    titles = _titles(sessions)
    for file in sessions:
        yield from _sessions(file, owners.pop(file, []), titles)
    for owner, files in owners.items():
        for file in files:
            yield Skipped(str(file), f"the session of this subagent, {owner.name}, is missing")


def _owner(file: Path) -> Path:
    """Return the file of the session that a subagent's file belongs to.

    It is named by the folder `<session>/subagents` or, if it lies beside the subagent's file, in its first line.
    """
    for folder in file.parents:
        if folder.name == "subagents":
            return folder.parent.with_name(f"{folder.parent.name}.jsonl")
    try:
        first = next((item for item in json_text.objects(file) if not isinstance(item, Skipped)), None)
    except OSError:
        first = None
    session_id = text(first[1].get("sessionId")) if first is not None else None
    return file.with_name(f"{session_id}.jsonl")


def _titles(files: Iterable[Path]) -> dict[str, str]:
    """Return the titles at the beginning of files, by the id of the last message that they are for.

    A file may have titles of other sessions, which were made when it was begun.
    """
    titles: dict[str, str] = {}
    for file in files:
        try:
            with file.open("rb") as lines:
                for line in itertools.islice(lines, 1000):
                    if not line.startswith(b'{"type":"summary"'):
                        break
                    value = mapping(json_text.parse(line))
                    if isinstance(value.get("leafUuid"), str) and (title := text(value.get("summary"))):
                        titles[value["leafUuid"]] = title
        except (OSError, json_text.Unreadable):
            continue  # reading the session itself reports it
    return titles


def _sessions(path: Path, agents: list[Path], titles: dict[str, str]) -> Items:
    content = _File(path)
    try:
        yield from _load(content, path)
        beside = [] if agents else sorted((path.parent / path.stem / "subagents").rglob("*.jsonl"))
        for file in [*agents, *beside]:
            yield from _load(content, file, agent=file.stem.removeprefix("agent-"))
    except OSError as error:
        yield Skipped(str(path), f"it cannot be read ({error.strerror})")
        return
    if not content.nodes:
        if content.side:
            yield Skipped(str(path), "it has only messages of subagents. Import the file of their session")
        return
    next(iter(content.nodes.values())).following[:0] = content.leading
    session_id = path.stem if _UUID.fullmatch(path.stem) else text(content.common.get("sessionId")) or path.stem
    leaves = [node.id for node in reversed(content.nodes.values()) if not node.line.get("isMeta")]
    current = leaves[0] if leaves else next(reversed(content.nodes))
    times = (time(node.line.get("timestamp")) for node in content.nodes.values())
    created_at = next((moment for moment in times if moment is not None), NO_TIME)
    name = content.titles.get("custom-title") or content.titles.get("ai-title") or content.titles.get("summary")
    name = name or next((titles[node] for node in reversed(content.nodes) if node in titles), None)
    metadata: dict[str, Any] = {key: content.common.get(key) for key in _METADATA}
    members = _members(content)
    header = new_header("claude-code", session_id, created_at, name=name, metadata=metadata)
    (nodes, _), *others = _branches(content, current, leaves)
    main = _entries(session_id, nodes, content, members, is_main=True)
    forks = []
    for nodes, first in others:
        fork = fork_id(session_id, first.id)
        entries = _entries(fork, nodes, content, members, is_main=False)
        forks.append(entries)
        yield SourceSession(
            fork_header(header, fork, time(first.line.get("timestamp")), main, entries), entries, str(path)
        )
    yield SourceSession(header, main, str(path), forks)


def _load(content: _File, path: Path, agent: str | None = None) -> Iterator[Skipped]:
    """Add the lines of a file to `content`. `agent` is the id of the subagent whose file it is."""
    last: _Node | None = None
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
            for name in _OF_SESSION if len(content.common) < len(_OF_SESSION) else ():
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
        node = _Node(key, line, message)
        if agent is not None or line.get("isSidechain") is True:
            group_id = agent or text(line.get("agentId")) or _side_root(content, line, key)
            content.side.setdefault(group_id, []).append(node)
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


def _parent(content: _File, parent: Any, last: _Node | None) -> str | None:
    """Return the parent of a line. If its own is missing, because a line could not be read, it is the line before."""
    if parent is None or (isinstance(parent, str) and parent in content.parents):
        return parent
    return last.id if last is not None else None


def _side_root(content: _File, line: dict[str, Any], key: str) -> str:
    """Return the id of the subagent that a line in the file of a session belongs to: that of its first message."""
    parent = line.get("parentUuid")
    for agent, nodes in content.side.items():
        if any(node.id == parent for node in nodes):
            return agent
    return key


def _parallel(content: _File) -> dict[str, list[str]]:
    """Return what belongs to each answer: all its lines, and the results of its tool calls, by the answer's id.

    An answer has one line for each of its blocks, and the results of parallel calls are children of different lines, so
    a way through the tree has only some of them.
    """
    calls: dict[str, str] = {}
    result: dict[str, list[str]] = {}
    for node in content.nodes.values():
        blocks = [block for block in items(node.message.get("content")) if isinstance(block, dict)]
        if node.line["type"] == "assistant":
            if answer := text(node.message.get("id")):
                result.setdefault(answer, []).append(node.id)
                calls |= {call: answer for block in blocks if (call := text(block.get("id")))}
        else:
            for block in blocks:
                if (call := text(block.get("tool_use_id"))) in calls and call is not None:
                    result[calls[call]].append(node.id)
    return {answer: nodes for answer, nodes in result.items() if len(nodes) > 1}


def _branches(content: _File, current: str, leaves: list[str]) -> Iterator[tuple[list[_Node], _Node]]:
    """Yield the messages of each branch, the current one first, and the first message that no branch before it has."""
    parallel = _parallel(content)
    answers = {line: answer for answer, lines in parallel.items() for line in lines if _is_answer(content.nodes[line])}
    covered: set[str] = set()
    for leaf in [current, *leaves]:
        if leaf in covered:
            continue
        way = [node for node in way_to(leaf, content.parents) if node in content.nodes]
        on_way = set(way)
        last_lines = {answers[node]: node for node in way if node in answers}
        nodes: dict[str, _Node] = {}
        for node in way:
            nodes.setdefault(node, content.nodes[node])
            if node in answers and last_lines[answers[node]] == node:
                for other in parallel[answers[node]]:
                    if other not in on_way:
                        nodes.setdefault(other, content.nodes[other])
        first = next(node for node in nodes if node not in covered)
        covered.update(nodes)
        yield list(nodes.values()), content.nodes[first]


def _is_answer(node: _Node) -> bool:
    return bool(node.line["type"] == "assistant")


def _entries(
    session_id: str, nodes: list[_Node], content: _File, members: list[_Member], *, is_main: bool
) -> list[Entry]:
    """Return the runs of a branch, with those of the subagents that its tool calls started.

    A subagent that no tool call names belongs to the current branch: to the last run that began before it.
    """
    entries = group(session_id, itertools.chain.from_iterable(_turns(node, content) for node in nodes))
    calls = {
        call.get("id"): entry
        for entry in entries
        for message in entry.get("messages", ())
        for call in message.get("tool_calls", ())
    }
    for member in members:
        owner = calls.get(member.call_id) if member.call_id is not None else None
        if owner is None and member.call_id is None and is_main:
            created_at = member.run["created_at"]
            owner = next((entry for entry in reversed(entries) if entry["created_at"] <= created_at), entries[0])
        if owner is not None:
            owner.setdefault("member_runs", []).append(member.run)
    return [in_order(entry) for entry in entries]


def _turns(node: _Node, content: _File) -> Iterator[Turn]:
    """Yield the messages of a line, and the lines that follow it."""
    created_at = time(node.line.get("timestamp"))
    if node.line["type"] == "assistant":
        yield _answer(node, created_at, content)
    else:
        yield from _user_turns(node, created_at, content)
    for line in node.following:
        yield Turn(created_at=created_at, other=_rest(line, content, used=("parentUuid", "isSidechain")))


def _rest(line: dict[str, Any], content: _File, used: tuple[str, ...] = _USED) -> dict[str, Any]:
    """Return the keys of a line that have no field in a document, without those that the session has as well."""
    return {
        key: value
        for key, value in line.items()
        if key not in used and value is not None and not (key in _OF_SESSION and content.common.get(key) == value)
    }


def _answer(node: _Node, created_at: str | None, content: _File) -> Turn:
    """Return a line of the model, which holds a whole answer or a part of one."""
    raw = node.message
    parts, calls, reasoning, kept = [], [], [], []
    blocks = raw["content"] if isinstance(raw["content"], list) else [raw["content"]]
    for block in blocks:
        kind = block.get("type") if isinstance(block, dict) else "text"
        if kind == "tool_use" and isinstance(block.get("name"), str):
            call = {"name": block["name"], "arguments": arguments(block.get("input"))}
            calls.append({"id": block["id"], **call} if isinstance(block.get("id"), str) else call)
        elif kind == "thinking" and isinstance(block.get("thinking"), str):
            if block["thinking"]:
                reasoning.append(block["thinking"])
            kept.append({key: value for key, value in block.items() if key != "thinking"})
        elif kind == "redacted_thinking":
            kept.append(block)
        else:
            parts.append(anthropic_part(block))
    message: dict[str, Any] = {"role": "assistant"}
    if (said := simplified(parts)) is not None:
        message["content"] = said
    if calls:
        message["tool_calls"] = calls
    if reasoning:
        message["reasoning"] = "\n\n".join(reasoning)
    imported = {**_rest(node.line, content), "uuids": [node.id]}
    imported |= {key: raw[key] for key in ("id", "usage") if raw.get(key)}
    imported |= {"content": kept} if kept else {}
    message[IMPORTED] = imported
    run: dict[str, Any] = {}
    if (model := text(raw.get("model"))) and model != "<synthetic>":
        run["model"] = model
    if node.line.get("isApiErrorMessage") is True:
        run["error"] = said if isinstance(said, str) else "The server reported an error."
    elif raw.get("stop_reason") == "max_tokens":
        run["finish_reason"] = "length"
    return Turn(
        message, created_at, id=node.id, answer_id=text(raw.get("id")), run=run, metrics=_usage(raw.get("usage"))
    )


def _usage(value: Any) -> dict[str, Any]:
    usage = mapping(value)
    cached = count(usage.get("cache_read_input_tokens"))
    read = [count(usage.get("input_tokens")), count(usage.get("cache_creation_input_tokens")), cached]
    known = [tokens for tokens in read if tokens is not None]
    return {
        "input_tokens": sum(known) if known else None,
        "cached_tokens": cached,
        "output_tokens": count(usage.get("output_tokens")),
    }


def _user_turns(node: _Node, created_at: str | None, content: _File) -> Iterator[Turn]:
    """Yield the messages in a line of the user: results of tools, a question, or what the program added."""
    raw = node.message["content"]
    blocks = raw if isinstance(raw, list) else [raw]
    rest = {"uuid": node.id, **_rest(node.line, content)}
    others = []
    for block in blocks:
        if not isinstance(block, dict) or block.get("type") != "tool_result":
            others.append(block)
            continue
        message: dict[str, Any] = {"role": "tool"}
        result = block.get("content")
        parts = [anthropic_part(part) for part in (result if isinstance(result, list) else [result])]
        said = simplified(parts) if result is not None else None
        if said is not None:
            message["content"] = said
        if call := text(block.get("tool_use_id")):
            message["tool_call_id"] = call
        imported = {**rest, **{k: v for k, v in block.items() if k not in ("type", "content", "tool_use_id")}}
        if isinstance(said, str) and (output := _output(said, content.path)) is not None:
            imported["output"] = output
        message[IMPORTED] = imported
        rest = {"uuid": node.id}
        yield Turn(message, created_at, id=node.id)
    if not others:
        return
    parts = [anthropic_part(block) for block in others]
    said = simplified(parts)
    beginning = next((part["text"] for part in parts if part["type"] == "text"), "")
    is_meta = node.line.get("isMeta") is True or node.line.get("isCompactSummary") is True
    is_interrupted = beginning.startswith(_INTERRUPTED)
    is_output = _PROGRAM_TEXT.match(beginning.lstrip()) is not None
    is_question = not (is_meta or is_interrupted or is_output) and len(others) == len(blocks)
    run: dict[str, Any] = {"status": None} if is_question else {}
    if is_interrupted:
        run = {"status": "cancelled"}
    elif is_output:
        run = {"status": "completed"}
    if node.line.get("isCompactSummary") is True and isinstance(said, str):
        run["session_summary"] = said
    role = "user" if is_question or len(others) < len(blocks) else "system"
    message = {"role": role, **({"content": said} if said is not None else {}), IMPORTED: rest}
    yield Turn(message, created_at, is_question, node.id, run=run)


def _output(said: str, path: Path) -> str | None:
    """Return the whole output of a tool that the program put into a file beside the session, or None."""
    if (match := _OUTPUT_FILE.search(said)) is None:
        return None
    try:
        return (path.parent / path.stem / "tool-results" / match[1]).read_text("utf-8", "replace")
    except OSError:
        return None


def _members(content: _File) -> list[_Member]:
    """Return the runs of the subagents, in the order of their beginning.

    The result of the tool call that started a subagent names it, or the call has the question that it was asked.
    """
    by_agent: dict[str, str] = {}
    questions: dict[str, tuple[str, str | None]] = {}
    for node in content.nodes.values() if content.side else ():
        agent = text(mapping(node.line.get("toolUseResult")).get("agentId"))
        for block in map(mapping, items(node.message.get("content"))):
            call_id = text(block.get("id"))
            given = mapping(block.get("input"))
            if call_id and (question := text(given.get("prompt"))):
                questions[question] = call_id, text(given.get("subagent_type"))
            if agent and (result := text(block.get("tool_use_id"))):
                by_agent[agent] = result
    names = dict(questions.values())
    members = []
    for agent, nodes in content.side.items():
        turns = [turn for node in nodes for turn in _turns(node, content)]
        for turn in turns[1:]:
            turn.is_question = False
        (run,) = group(agent, turns)
        asked = next((message.get("content") for message in run.get("messages", ()) if message["role"] == "user"), None)
        call_id = by_agent.get(agent) or questions.get(asked if isinstance(asked, str) else "", (None,))[0]
        run |= {"run_id": agent, "agent_id": names.get(call_id or "") or f"agent-{agent}"}
        members.append(_Member(in_order(run | ({"tool_call_id": call_id} if call_id else {})), call_id))
    return sorted(members, key=lambda member: str(member.run["created_at"]))
