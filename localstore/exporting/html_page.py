"""Export sessions as a single HTML page without scripts or references to other files."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from html import escape

from localstore.exporting.characters import json_text, visible
from localstore.exporting.html_run import Anchors, RunWriter
from localstore.exporting.html_style import STYLE
from localstore.exporting.labels import began, session_details, title
from localstore.models.session import Run, Session

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"


def html_page(sessions: Iterable[Session]) -> Iterator[str]:
    """Yield an HTML page with the sessions, in pieces. If there are none, the page says so.

    Every run has an anchor, `#run-<run id>`, with `_` in place of characters that a URL does not allow. A page with
    several sessions has a table of contents. Messages of the assistant, and questions and text output of steps, are
    rendered as Markdown; all other text is shown as it is.
    """
    anchors = Anchors()
    writer = RunWriter(anchors)
    contents: list[str] = []
    bodies: list[str] = []
    names: list[str] = []
    for session in sessions:
        anchor = anchors.new("session", session.session_id)
        names.append(visible(title(session)))
        contents.append(
            f'<li><a href="#{anchor}"><bdi>{escape(names[-1])}</bdi></a> <small>{escape(began(session))}</small></li>\n'
        )
        bodies.append(f'<section class="session" id="{anchor}">\n{"".join(_session(session, writer))}</section>\n')
    single = len(bodies) == 1
    heading = names[0] if single else f"{len(bodies):,} sessions" if bodies else "No sessions"
    yield _head(heading, single)
    if not single:
        yield f"<h1>{heading}</h1>\n"
    if len(bodies) > 1:
        yield f'<nav aria-label="Sessions">\n<ol>\n{"".join(contents)}</ol>\n</nav>\n'
    for body in bodies:  # the heading of a single session is the heading of the page
        yield body if not single else re.sub(r"<(/?)h2>", r"<\1h1>", body, count=2)
    yield "</main>\n</body>\n</html>\n"


def run_page(run: Run) -> Iterator[str]:
    """Yield an HTML page with one run, in pieces."""
    yield _head(visible(run.run_id), single=True)
    yield from RunWriter(Anchors()).history([run])
    yield "</main>\n</body>\n</html>\n"


def _head(heading: str, single: bool) -> str:
    kind = ' class="single"' if single else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(' '.join(heading.split()))}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body{kind}>\n<main>\n"
    )


def _session(session: Session, writer: RunWriter) -> Iterator[str]:
    facts = "".join(f"<span><bdi>{escape(visible(fact))}</bdi></span>" for fact in session_details(session))
    yield f'<h2><bdi>{escape(visible(title(session)))}</bdi></h2>\n<p class="facts">{facts}</p>\n'
    if session.metadata:
        yield writer.folded("Metadata", json_text(session.metadata, indent=2))
    yield from writer.history(session.history)
    if not session.history:
        yield '<p class="notice">Nothing happened in this session yet.</p>\n'
