"""Describe sessions, runs, steps and messages for people, in plain text. Nothing is escaped here."""

import re
from collections.abc import Iterator
from typing import Any

from localstore.models.excerpt import one_line
from localstore.models.session import ContentPart, Entry, Message, Run, Session, Step, Update

_EMBEDDED_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+\Z", re.IGNORECASE)
_SAFE_SCHEMES = ("http://", "https://", "mailto:")


def title(session: Session) -> str:
    """Return the name of the session; without one, its first question on one line; otherwise its id."""
    return session.name or next(filter(None, _questions(session)), session.session_id)


def _questions(session: Session) -> Iterator[str]:
    return (one_line(run.question) for run in session.runs)


def session_details(session: Session) -> list[str]:
    """Return texts about a session: id (unless it is the title), kind, user, start, number of runs, tags."""
    details = [session.session_id] if title(session) != session.session_id else []
    details.append(f"{session.kind} {session.entity_id}" if session.entity_id else session.kind)
    if session.user_id is not None:
        details.append(f"user {session.user_id}")
    details += [f"began {began(session)}", _count(len(session.runs), "run")]
    return details + ([f"tags {', '.join(session.tags)}"] if session.tags else [])


def run_details(run: Run | Step) -> list[str]:
    """Return texts about a run or step: start, and model, tokens and duration where they are known."""
    details = [began(run)]
    if isinstance(run, Run) and run.model:
        details.append(run.model + (f" (asked for {run.requested_model})" if run.requested_model else ""))
    if (metrics := run.metrics) is not None:
        tokens = (
            (metrics.input_tokens, "in", metrics.cached_tokens, "cached"),
            (metrics.output_tokens, "out", metrics.reasoning_tokens, "reasoning"),
        )
        counts = [
            f"{number:,} {way}" + (f" ({part:,} {kind})" if part else "")
            for number, way, part, kind in tokens
            if number is not None
        ]
        details += [f"tokens {', '.join(counts)}"] if counts else []
        details += [f"{metrics.duration_seconds:,.1f} s"] if metrics.duration_seconds is not None else []
    return details


def ending(run: Run | Step) -> str | None:
    """Return how a run or step ended, such as "failed", or None if it is complete or has no status.

    A completed run whose answer is not complete is "truncated" if it was cut off at the limit of tokens, else
    "incomplete".
    """
    if run.status in (None, "completed"):
        if run.finish_reason is None:
            return None
        return "truncated" if run.finish_reason in ("length", "max_tokens", "model_length") else "incomplete"
    return {"error": "failed"}.get(run.status, run.status)


def member_title(run: Run) -> str:
    """Return a title for the run of a member of a team: "Member" and its id or, without one, the run id."""
    return f"Member {run.agent_id or run.team_id or run.workflow_id or run.run_id}"


def step_name(step: Step) -> str:
    """Return the names of the steps that contain `step`, from the outside in, and its own, joined by " / "."""
    return " / ".join([*(step.within or ()), step.name])


def speaker(message: Message) -> str:
    """Return the role of a message, capitalised, with the name of the speaker in parentheses if there is one."""
    role = message.role[:1].upper() + message.role[1:]
    return f"{role} ({message.name})" if message.name else role


def state_changes(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return which keys of a state changed, in words.

    >>> state_changes({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 5, "d": 4})
    'd added, b changed, c removed'
    """
    words = {
        "added": [key for key in after if key not in before],
        "changed": [key for key in after if key in before and after[key] != before[key]],
        "removed": [key for key in before if key not in after],
    }
    return ", ".join(f"{', '.join(keys)} {word}" for word, keys in words.items() if keys) or "unchanged"


def began(record: Session | Run | Step | Update | Entry) -> str:
    """Return when a record of a document began, in UTC as people write it, or its text if that is not a time."""
    time = record.created_at
    return str(record.__document__().get("created_at", "")) if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def part_label_and_url(part: ContentPart) -> tuple[str, str | None]:
    """Return a label for a part that is not text, and its URL if it is safe to open, otherwise None."""
    label = f"{part.type} ({part.mime_type})" if part.mime_type else part.type
    if part.url is not None and is_safe_url(part.url):
        return label, part.url
    if part.path is not None:
        return f"{label}: {part.path}", None
    if part.url is not None:
        return (f"{label}, embedded" if part.url[:5].lower() == "data:" else f"{label}: {part.url}"), None
    return label, None


def embedded_image(part: ContentPart) -> str | None:
    """Return the `data:` URL of an image that stands in the message itself; None if there is none, or another kind."""
    return part.url if part.type == "image" and part.url and _EMBEDDED_IMAGE.match(part.url) else None


def is_safe_url(url: str) -> bool:
    """Return whether a URL is safe to open: an http, https or mailto URL."""
    return url.strip().lower().startswith(_SAFE_SCHEMES)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
