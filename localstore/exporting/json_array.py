"""Sessions as one JSON array of whole documents."""

from collections.abc import Iterable, Iterator

from localstore.exporting.characters import json_text
from localstore.format.values import to_json_value
from localstore.models.session import Session


def json_array(sessions: Iterable[Session]) -> Iterator[str]:
    """An array with the document of each session, header and history, whatever the format that it is stored in.
    `[]` for none."""
    opened = False
    for session in sessions:
        document = {**to_json_value(session), "history": session.history}
        lines = json_text(document, indent=2).replace("\n", "\n  ")
        yield f"{',' if opened else '['}\n  {lines}"
        opened = True
    yield "\n]\n" if opened else "[]\n"
