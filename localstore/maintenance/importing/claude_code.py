"""Sessions of Claude Code: one JSON Lines file per session below `~/.claude/projects`.

Each line has a `uuid` and names its parent, so a file is a tree: going back to an earlier question makes a branch. The
branch of the newest message becomes the session, and each other one a fork. A compaction does not end a session: what
came before it is kept.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localstore.maintenance.importing import json_text
from localstore.maintenance.importing.claude_file import Node, SessionFile, load
from localstore.maintenance.importing.claude_messages import turns_of
from localstore.maintenance.importing.fields import NO_TIME, items, mapping, text, time
from localstore.maintenance.importing.runs import group, in_order
from localstore.maintenance.importing.source import (
    Entry,
    Items,
    Skipped,
    SourceSession,
    fork_header,
    new_header,
    open_file,
)
from localstore.maintenance.importing.tree import fork_id, path_to

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_METADATA = ("cwd", "gitBranch", "version")


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
            with open_file(file) as lines:
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
    """Yield the session in a file, after those of its branches.

    Args:
        path: The file.
        agents: The files of its subagents; if there are none, those in its folder are read.
        titles: The titles of all sessions.
    """
    content = SessionFile(path)
    beside = [] if agents else sorted((path.parent / path.stem / "subagents").rglob("*.jsonl"))
    for file in [path, *agents, *beside]:
        try:
            yield from load(content, file, None if file == path else file.stem.removeprefix("agent-"))
        except OSError as error:
            yield Skipped(str(file), f"it cannot be read ({error.strerror})")
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
        moment = time(first.line.get("timestamp"))
        forks.append(SourceSession(fork_header(header, fork, moment, main, entries), entries, str(path)))
        yield forks[-1]
    yield SourceSession(header, main, str(path), forks)


def _parallel(content: SessionFile) -> dict[str, list[str]]:
    """Return what belongs to each answer: all its lines, and the results of its tool calls, by the answer's id.

    An answer has one line for each of its blocks, and the results of parallel calls are children of different lines, so
    a path through the tree has only some of them.
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


def _branches(content: SessionFile, current: str, leaves: list[str]) -> Iterator[tuple[list[Node], Node]]:
    """Yield the messages of each branch, the current one first, and the first message that no branch before it has."""
    parallel = _parallel(content)
    answers = {line: answer for answer, lines in parallel.items() for line in lines if _is_answer(content.nodes[line])}
    covered: set[str] = set()
    for leaf in [current, *leaves]:
        if leaf in covered:
            continue
        ids = [node for node in path_to(leaf, content.parents) if node in content.nodes]
        on_path = set(ids)
        last_lines = {answers[node]: node for node in ids if node in answers}
        nodes: dict[str, Node] = {}
        for node in ids:
            nodes.setdefault(node, content.nodes[node])
            if node in answers and last_lines[answers[node]] == node:
                for other in parallel[answers[node]]:
                    if other not in on_path:
                        nodes.setdefault(other, content.nodes[other])
        first = next(node for node in nodes if node not in covered)
        covered.update(nodes)
        yield list(nodes.values()), content.nodes[first]


def _is_answer(node: Node) -> bool:
    return bool(node.line["type"] == "assistant")


def _entries(
    session_id: str, nodes: list[Node], content: SessionFile, members: list[_Member], *, is_main: bool
) -> list[Entry]:
    """Return the runs of a branch, with those of the subagents that its tool calls started.

    A subagent that no tool call names belongs to the current branch: to the last run that began before it.
    """
    entries = group(session_id, itertools.chain.from_iterable(turns_of(node, content) for node in nodes))
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


def _members(content: SessionFile) -> list[_Member]:
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
        turns = [turn for node in nodes for turn in turns_of(node, content)]
        for turn in turns[1:]:
            turn.is_question = False
        (run,) = group(agent, turns)
        asked = next((message.get("content") for message in run.get("messages", ()) if message["role"] == "user"), None)
        call_id = by_agent.get(agent) or questions.get(asked if isinstance(asked, str) else "", (None,))[0]
        run |= {"run_id": agent, "agent_id": names.get(call_id or "") or f"agent-{agent}"}
        members.append(_Member(in_order(run | ({"tool_call_id": call_id} if call_id else {})), call_id))
    return sorted(members, key=lambda member: str(member.run["created_at"]))
