"""The text of a document for a diff by git: one line for each line of a message."""

from __future__ import annotations

import os

from localstore.errors import LocalstoreError
from localstore.format.document import LAYOUTS, parse_document

from . import output
from .pieces import Piece
from .transcript import Transcript


def document_text(raw: bytes, path: str) -> bytes:
    """Return the document as `show` prints sessions to a pipe, or `raw` itself if it cannot be read.

    Only what changes in the document changes in the text: numbers of runs and the width of columns do not occur.
    """
    layout = LAYOUTS.get(os.path.splitext(path)[1])
    if layout is None:
        return raw
    try:
        parsed = parse_document(raw, layout, path)
    except LocalstoreError:
        return raw
    transcript = Transcript(person=False, fold=False)
    pieces = [piece for name, value in parsed.header.items() for piece in transcript.field(name, value, 0)]
    for entry in parsed.entries:
        pieces += [Piece(""), *transcript.unchecked_entry(entry)]
    lines = [
        f"{' ' * piece.indent}{line}".rstrip(" ") for piece in pieces for line in output.lines(piece.text).split("\n")
    ]
    return "\n".join([*lines, ""]).encode(errors="surrogateescape")
