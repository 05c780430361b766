"""Render the entries of a history as HTML. All text is escaped here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from localstore.exporting.characters import json_text
from localstore.exporting.conversation import Turn, messages_around_steps, messages_of_item, turns
from localstore.exporting.html_bars import span_bar
from localstore.exporting.html_markdown import rendered
from localstore.exporting.html_text import escaped as _text
from localstore.exporting.html_text import preformatted as _pre
from localstore.exporting.labels import (
    began,
    embedded_image,
    ending,
    member_title,
    part_label_and_url,
    run_details,
    speaker,
    state_changes,
    step_name,
)
from localstore.models.schema import SESSION_KEYS
from localstore.models.session import ContentPart, Entry, Message, Run, Step, ToolCall, Update

_LONGEST_PREVIEW = 120
_NOT_IN_ANCHORS = re.compile(r"[^A-Za-z0-9._~-]")
_TITLES = {"session_state": "State", "session_summary": "Summary", "session_data": "Data"}


class Anchors:
    """Generates the anchors of one page, each of them unique."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}
        """The anchors in use, each with the last number that was added to it."""

    def new(self, kind: str, name: str) -> str:
        """Return a new anchor such as `run-abc`, with a number at the end if that is in use.

        Characters that a URL does not allow become `_`.
        """
        base = anchor = f"{kind}-{_NOT_IN_ANCHORS.sub('_', name)}"
        number = self._used.get(base, 0)
        while anchor in self._used:
            number += 1
            anchor = f"{base}-{number}"
        self._used[base] = max(number, 1)
        self._used.setdefault(anchor, 1)
        return anchor


class RunWriter:
    """Renders entries as HTML, with an anchor for each run. One `Anchors` serves a whole page."""

    def __init__(
        self, anchors: Anchors, *, images: bool = False, controls: Callable[[Run, str], str] | None = None
    ) -> None:
        """Make a writer.

        Args:
            anchors: The anchors of the page.
            images: Whether images that are embedded in a message are shown. The page's policy must allow `data:`.
            controls: Returns the HTML that is added at the end of a run, which it gets with its anchor.
        """
        self._anchors = anchors
        self._images = images
        self._controls = controls

    def history(self, entries: Iterable[Run | Update | Entry], *, runs_before: int = 0) -> Iterator[str]:
        """Yield the HTML of the entries, one after the other. The first run has the number after `runs_before`."""
        number = runs_before
        state: dict[str, Any] | None = None if runs_before else {}
        for entry in entries:
            if isinstance(entry, Run):
                number += 1
                yield self._run(entry, f"Run {number}", state, is_nested=False)
            elif isinstance(entry, Update):
                yield (
                    f'<div class="run"><p class="facts"><span>Update</span>{_facts([began(entry)])}</p>\n'
                    f"{''.join(self._state(entry, state))}</div>\n"
                )
            else:
                yield self._entry(entry)
                continue
            state = state if entry.session_state is None else entry.session_state

    def _entry(self, entry: Entry) -> str:
        messages = messages_of_item(entry)
        name = entry.type if not messages else str((entry.model_extra or {}).get("source", entry.type))
        facts = f"<span><bdi>{_text(name)}</bdi></span>{_facts([began(entry)] if entry.created_at else [])}"
        said = "".join(self._messages(messages))
        folded = self.folded("Entry", json_text(entry, indent=2))
        return f'<div class="run"><p class="facts">{facts}</p>\n{said}{folded}</div>\n'

    def folded(self, summary: str, text: str) -> str:
        """Return the HTML of a block of text that is collapsed, with `summary` visible, until the reader opens it."""
        return f"<details><summary>{_text(summary)}</summary>{_pre(text)}</details>\n"

    def _run(self, run: Run, name: str, state: dict[str, Any] | None = None, *, is_nested: bool = True) -> str:
        anchor = self._anchors.new("run", run.run_id)
        link = f'<a href="#{anchor}"><bdi>{_text(name)}</bdi></a>'
        facts = f"{link}{_facts(run_details(run))}{_ending(run)}{_rating(run)}"
        before, after = messages_around_steps(run)
        body = [
            f'<article class="run" id="{anchor}">\n<p class="facts">{facts}</p>\n',
            *self._state(run, state),
            *self._messages(before),
            *(self._step(step, run) for step in run.steps or ()),
            *self._messages(after),
            *(self._member(member, run) for member in run.member_runs or ()),
            *_error(run.error),
        ]
        if run.status == "unfinished" and not run.answer:
            body.append('<p class="notice">There is no answer yet.</p>\n')
        if self._controls is not None and not is_nested:
            body.append(self._controls(run, anchor))
        return "".join([*body, "</article>\n"])

    def _member(self, run: Run, whole: Run | Step) -> str:
        name = member_title(run)
        summary = f"<summary><bdi>{_text(name)}</bdi>{_short_ending(run)}{span_bar(run, whole)}</summary>"
        return f'<details class="nested">{summary}\n{self._run(run, name)}</details>\n'

    def _step(self, step: Step, whole: Run) -> str:
        name = f"Step <bdi>{_text(step_name(step))}</bdi>"
        summary = f"<summary>{name}{_short_ending(step)}{span_bar(step, whole)}</summary>"
        body = [f'<p class="facts">{_facts(run_details(step))}</p>\n']
        if step.question:
            body.append(self._markdown_block(step.question))
        if step.messages:
            body += [*self._messages(step.messages), *(self._member(member, step) for member in step.member_runs or ())]
        elif isinstance(step.output, str):
            body.append(self._markdown_block(step.output))
        elif step.output is not None:
            body.append(_pre(json_text(step.output, indent=2)))
        return f'<details class="nested">{summary}\n{"".join([*body, *_error(step.error)])}</details>\n'

    def _state(self, entry: Run | Update, before: dict[str, Any] | None) -> Iterator[str]:
        """Yield what the entry changed of the session. `before` is the state until then, None if it is not known."""
        if entry.instructions:
            yield self.folded("Instructions", entry.instructions)
        for name in SESSION_KEYS[1:]:
            value: Any = getattr(entry, name)
            if value is None:
                continue
            title = _TITLES[name]
            if name == "session_state" and before is not None:
                title = f"{title}: {state_changes(before, value)}"
            yield self.folded(title, value if isinstance(value, str) else json_text(value, indent=2))

    def _messages(self, messages: list[Message]) -> Iterator[str]:
        for turn in turns(messages):
            yield self._turn(turn)

    def _turn(self, turn: Turn) -> str:
        message = turn.message
        parts = self._parts(message)
        kind = "message" if message.role == "assistant" else "message asked"
        html = "".join(parts)
        if message.role in ("tool", "system", "developer"):
            html = f"<details><summary>{_text(speaker(message))}</summary>{html}</details>\n"
        elif html or not turn.calls:
            html = f'<div class="{kind}">\n<p class="who"><bdi>{_text(speaker(message))}</bdi></p>\n{html}</div>\n'
        return html + "".join(self._call(call, answer) for call, answer in turn.calls)

    def _call(self, call: ToolCall, answer: Message | None) -> str:
        arguments = call.arguments if isinstance(call.arguments, str) else json_text(call.arguments)
        preview = _text(arguments[:_LONGEST_PREVIEW])
        summary = f'<code>{_text(call.name)}</code> <span class="preview">{preview}</span>'
        if not isinstance(call.arguments, str):
            arguments = json_text(call.arguments, indent=2)
        if answer is None:
            result = '<p class="label unanswered">No answer</p>'
        else:
            result = f'<p class="label">Answer</p>{"".join(self._parts(answer))}'
        asked = f'<p class="label">Arguments</p>{_pre(arguments)}'
        return f'<details class="call"><summary>{summary}</summary>{asked}{result}</details>\n'

    def _parts(self, message: Message) -> list[str]:
        content = message.content
        parts = [ContentPart(type="text", text=content)] if isinstance(content, str) else content or []
        return [self._part(part, message.role) for part in parts if part.type != "text" or part.text]

    def _part(self, part: ContentPart, role: str) -> str:
        if part.type != "text" or part.text is None:
            label, url = part_label_and_url(part)
            if self._images and (image := embedded_image(part)) is not None:
                return f'<p class="part"><img src="{_text(image)}" alt="{_text(label)}" loading="lazy"></p>\n'
            if url is None:
                return f'<p class="part">[<bdi>{_text(label)}</bdi>]</p>\n'
            return (
                f'<p class="part"><a href="{_text(url)}" rel="noopener noreferrer"><bdi>{_text(label)}</bdi></a></p>\n'
            )
        if role == "assistant":
            return self._markdown_block(part.text)
        if role == "user":
            return f'<div class="typed" dir="auto" lang="">{_text(part.text.strip(chr(10)))}</div>\n'
        return _pre(part.text)

    def _markdown_block(self, text: str) -> str:
        return f'<div class="said" dir="auto" lang="">\n{rendered(text)}</div>\n'


def _facts(facts: list[str]) -> str:
    return "".join(f"<span><bdi>{_text(fact)}</bdi></span>" for fact in facts)


def _ending(run: Run | Step) -> str:
    how = ending(run)
    if how is None:
        return ""
    kind = how if how in ("failed", "unfinished", "cancelled") else "ended"
    return f'<span class="{kind}"><bdi>{_text(how)}</bdi></span>'


def _short_ending(run: Run | Step) -> str:
    html = _ending(run)
    return f" {html}" if html else ""


def _rating(run: Run) -> str:
    if not run.rating:
        return ""
    kind = run.rating if run.rating in ("good", "bad") else "ended"
    note = f'<span class="note"><bdi>{_text(run.rating_note)}</bdi></span>' if run.rating_note else ""
    return f'<span class="{kind}"><bdi>rated {_text(run.rating)}</bdi></span>{note}'


def _error(error: str | None) -> Iterator[str]:
    if error:
        yield f'<div class="error"><p class="who">Error</p>{_pre(error)}</div>\n'
