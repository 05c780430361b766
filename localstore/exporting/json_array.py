"""Export sessions as a JSON array of documents."""

from collections.abc import Iterable, Iterator

from localstore.exporting.characters import json_text
from localstore.format.values import to_json_value
from localstore.models.session import Session


def json_array(sessions: Iterable[Session]) -> Iterator[str]:
    """Yield a JSON array with the document of each session, its header and history, in pieces.

    >>> "".join(json_array([]))
    '[]\\n'
    """
    opened = False
    for session in sessions:
        document = {**to_json_value(session), "history": session.history}
        lines = json_text(document, indent=2).replace("\n", "\n  ")
        yield f"{',' if opened else '['}\n  {lines}"
        opened = True
    yield "\n]\n" if opened else "[]\n"
