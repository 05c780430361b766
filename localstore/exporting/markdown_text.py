"""Export sessions as Markdown that can be pasted into a chat, an issue or a wiki.

Messages are in block quotes, so that their markup does not affect the text after them. The state and the instructions
of a session are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import quote as percent_encoded

from localstore.exporting.characters import json_text, short_json, visible
from localstore.exporting.conversation import Turn, messages_around_steps, turns, with_items_as_runs
from localstore.exporting.labels import (
    ending,
    member_title,
    part_label_and_url,
    run_details,
    session_details,
    speaker,
    step_name,
    title,
)
from localstore.models.session import ContentPart, Message, Run, Session, Step

_SPECIAL = re.compile(r"[\\`*\[\]<>|~]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
_AT_START = re.compile(r"^(\d{1,9})(?=[.)](?:\s|$))|^(?=[-+=#:])", re.MULTILINE)
_CLOSING = re.compile(r"(?<=[ \t])#(?=#*$)")
"""A `#` at the end of a heading, which Markdown would not show."""
_AS_TYPED = re.compile(r"^(?: {2}|\t)|```|~~~", re.MULTILINE)
"""Indentation and fences, which change in a paragraph. Text with them is shown as a code block."""
_DEEPEST = 6


def markdown_text(sessions: Iterable[Session]) -> Iterator[str]:
    """Yield each session as one piece of Markdown: a heading for it and for each run, followed by the messages.

    Sessions are separated by a horizontal rule. Yield nothing if there are none.
    """
    first = True
    for session in sessions:
        yield ("" if first else "\n---\n\n") + "\n\n".join(_session(session)) + "\n"
        first = False


def _session(session: Session) -> Iterator[str]:
    yield f"# {_inline(title(session))}"
    yield " · ".join(map(_inline, session_details(session)))
    for number, run in enumerate(with_items_as_runs(session).runs, 1):
        yield from _run(run, f"Run {number}", 2)


def _run(run: Run, name: str, level: int) -> Iterator[str]:
    how = ending(run)
    yield f"{'#' * min(level, _DEEPEST)} {_inline(f'{name} ({how})' if how else name)}"
    facts = run_details(run)
    if run.rating:
        facts.append(f"rated {run.rating}" + (f": {run.rating_note}" if run.rating_note else ""))
    yield " · ".join(map(_inline, facts))
    before, after = messages_around_steps(run)
    yield from _messages(before)
    for step in run.steps or ():
        yield from _step(step, level + 1)
    yield from _messages(after)
    for member in run.member_runs or ():
        yield from _run(member, member_title(member), level + 1)
    if run.error:
        yield from ("**Error**", _fence(run.error))


def _step(step: Step, level: int) -> Iterator[str]:
    how = ending(step)
    name = f"Step {step_name(step)}"
    yield f"{'#' * min(level, _DEEPEST)} {_inline(f'{name} ({how})' if how else name)}"
    yield " · ".join(map(_inline, run_details(step)))
    if step.question:
        yield _quoted(step.question)
    if step.messages:
        yield from _messages(step.messages)
        for member in step.member_runs or ():
            yield from _run(member, member_title(member), level + 1)
    elif step.output is not None:
        yield _quoted(step.output) if isinstance(step.output, str) else _fence(json_text(step.output, indent=2), "json")
    if step.error:
        yield from ("**Error**", _fence(step.error))


def _messages(messages: list[Message]) -> Iterator[str]:
    for turn in turns(messages):
        yield from _turn(turn)


def _turn(turn: Turn) -> Iterator[str]:
    message = turn.message
    pieces = list(_content(message))
    if pieces or not turn.calls:
        yield f"**{_inline(speaker(message))}**"
        yield from pieces
    for call, answer in turn.calls:
        yield f"**Tool call** {_code(call.name)}"
        yield _fence(call.arguments if isinstance(call.arguments, str) else short_json(call.arguments), "json")
        if answer is None:
            yield "*No answer*"
        else:
            yield "Answer:"
            yield from _content(answer)


def _content(message: Message) -> Iterator[str]:
    parts = [ContentPart(type="text", text=message.content)] if isinstance(message.content, str) else message.content
    for part in parts or ():
        if part.type != "text" or part.text is None:
            yield _quote(_link(part))
        elif not part.text.strip():
            continue
        elif message.role == "tool":
            yield _fence(part.text, "json" if part.text.lstrip()[:1] in ("{", "[") else "")
        elif message.role == "assistant":
            yield _quoted(part.text)
        else:
            yield _quote(_as_typed(part.text))


def _link(part: ContentPart) -> str:
    label, url = part_label_and_url(part)
    if url is None:
        return _inline(label)
    return f"[{_inline(label)}]({percent_encoded(visible(url).strip(), safe=':/?#@!$&,;=%+~*')})"


def _as_typed(text: str) -> str:
    """Return Markdown that shows `text`, such as the message of a user, exactly as it was typed."""
    text = visible(text).strip("\n")
    if _AS_TYPED.search(text):
        return _fence(text)
    lines = [_escaped(line.strip()) for line in text.split("\n")]
    ends = ["  " if line and follower else "" for line, follower in zip(lines, [*lines[1:], ""], strict=True)]
    return "\n".join(f"{line}{end}" for line, end in zip(lines, ends, strict=True))


def _escaped(line: str) -> str:
    escaped = _SPECIAL.sub(lambda match: "&amp;" if match[0] == "&" else f"\\{match[0]}", line)
    return _AT_START.sub(lambda match: f"{match[1]}\\" if match[1] else "\\", escaped)


@lru_cache(maxsize=256)
def _inline(text: str) -> str:
    """Return Markdown that shows `text` literally on one line, also in a heading."""
    return _CLOSING.sub(r"\\#", _escaped(" ".join(visible(text).split())))


def _quoted(text: str) -> str:
    """Return a block quote with Markdown that a model wrote. Its markup is kept."""
    return _quote(visible(text).strip())


def _quote(text: str) -> str:
    return "\n".join(f"> {line}".rstrip(" ") if not line.strip() else f"> {line}" for line in text.split("\n"))


def _fence(text: str, language: str = "") -> str:
    """Return a code block with `text`. Its fence is longer than any run of backticks in the text."""
    text = visible(text).rstrip("\n")
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _code(text: str) -> str:
    """Return inline code with `text`, between more backticks than any run of them in the text."""
    text = " ".join(visible(text).split())
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{ticks} {text} {ticks}" if "`" in text or not text else f"{ticks}{text}{ticks}"
