"""Show a session or a run in a notebook: the page of the HTML export, in a frame of its own."""

from html import escape

from localstore.exporting.html_page import html_page, run_page
from localstore.models.session import Run, Session

_MOST_ENTRIES = 50
"""How many entries of a long session are shown, so that the notebook's file stays small."""
_FRAME = '<iframe sandbox srcdoc="{}" style="width: 100%; height: 30rem; border: 0; resize: vertical"></iframe>'
"""The frame keeps the page's style from the notebook. It runs no scripts and has no access to the notebook."""


def session_html(session: Session) -> str:
    """Return the HTML of a session. Of a long one, only the newest entries are shown, and a line says so."""
    left_out = len(session.history) - _MOST_ENTRIES
    if left_out <= 0:
        return _framed("".join(html_page([session])))
    newest = session.model_copy(update={"history": session.history[left_out:]})
    note = f"<p>The newest {_MOST_ENTRIES} of {len(session.history):,} entries. Export the session to see all.</p>"
    return note + _framed("".join(html_page([newest])))


def run_html(run: Run) -> str:
    """Return the HTML of a run."""
    return _framed("".join(run_page(run)))


def _framed(page: str) -> str:
    return _FRAME.format(escape(page))
