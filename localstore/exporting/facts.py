"""What is said of a session, a run and a part of a message, in words for people; nothing is escaped yet."""

from datetime import UTC, datetime

from localstore.models.session import ContentPart, Message, Run, Session, Step

_SAFE_SCHEMES = ("http://", "https://", "mailto:")


def title(session: Session) -> str:
    """What people call the session."""
    return session.name or session.session_id


def session_facts(session: Session) -> list[str]:
    """What the session is: the id when it has a name, whose it is, when it began, its tags."""
    facts = [session.session_id] if session.name else []
    facts.append(f"{session.kind} {session.entity_id}" if session.entity_id else session.kind)
    if session.user_id is not None:
        facts.append(f"user {session.user_id}")
    facts += [f"began {moment(session.created_at)}", _count(len(session.runs), "run")]
    return facts + ([f"tags {', '.join(session.tags)}"] if session.tags else [])


def run_facts(run: Run | Step) -> list[str]:
    """When the run began, and what is known of how it was done."""
    facts = [moment(run.created_at)]
    if isinstance(run, Run) and run.model:
        facts.append(run.model)
    if (metrics := run.metrics) is not None:
        tokens = ((metrics.input_tokens, "in"), (metrics.output_tokens, "out"))
        known = [f"{number:,} {way}" for number, way in tokens if number is not None]
        facts += [f"tokens {', '.join(known)}"] if known else []
        facts += [f"{metrics.duration_seconds:,.1f} s"] if metrics.duration_seconds is not None else []
    return facts


def ending(run: Run | Step) -> str | None:
    """How the run ended when that is worth saying: not for a completed one."""
    if run.status in (None, "completed"):
        return None
    return {"error": "failed"}.get(run.status, run.status)


def member_title(run: Run) -> str:
    """What a member's run is called."""
    return f"Member {run.agent_id or run.team_id or run.workflow_id or run.run_id}"


def step_name(step: Step) -> str:
    """The name of a step, behind the names of what it stands in."""
    return " / ".join([*(step.within or ()), step.name])


def speaker(message: Message) -> str:
    """Who says the message."""
    role = message.role[:1].upper() + message.role[1:]
    return f"{role} ({message.name})" if message.name else role


def moment(text: str) -> str:
    """A time of a document for people, in UTC; a text that is no time as it is."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError):
        return text


def part_link(part: ContentPart) -> tuple[str, str | None]:
    """What a part that is no text is called, and the address where it is, when one may follow it."""
    label = f"{part.type} ({part.mime_type})" if part.mime_type else part.type
    if part.url is not None and is_safe(part.url):
        return label, part.url
    if part.path is not None:
        return f"{label}: {part.path}", None
    if part.url is not None:
        return (f"{label}, embedded" if part.url[:5].lower() == "data:" else f"{label}: {part.url}"), None
    return label, None


def is_safe(url: str) -> bool:
    """Whether an address is of a kind that a reader may follow."""
    return url.strip().lower().startswith(_SAFE_SCHEMES)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
