"""A merged session is written to its document, and all else keeps its bytes."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from localstore.engine.merge import Merged, Version, merge
from localstore.engine.merged_rewrite import rewrite_of
from localstore.engine.plan import Rewrite
from localstore.format.document import LAYOUTS, ParsedDocument, parse_document

HEADER = {"schema_version": 1, "session_id": "s", "kind": "agent", "created_at": "2026-11-01T00:00:00.000Z"}


def entry(number: int, text: str = "") -> dict[str, Any]:
    created_at = f"2026-11-01T00:00:{number:02d}.000Z"
    if number % 3 == 2:
        return {"type": "update", "created_at": created_at, "session_state": {str(number): number}}
    messages = [{"role": "user", "content": text or str(number)}]
    return {"type": "run", "run_id": f"r{number}", "created_at": created_at, "messages": messages}


def document(entries: list[dict[str, Any]], suffix: str) -> ParsedDocument:
    layout = LAYOUTS[suffix]
    raw = layout.assemble(layout.head(HEADER), [layout.entry(one) for one in copy.deepcopy(entries)])
    return parse_document(raw, layout, f"s{suffix}")


def applied(parsed: ParsedDocument, rewrite: Rewrite) -> list[dict[str, Any]]:
    """The history after a rewrite, as `Transaction` carries it out."""
    result: list[dict[str, Any]] = []
    for start, old in zip(parsed.starts, parsed.entries, strict=True):
        result += rewrite.inserted.get(start, [])
        new = rewrite.replaced.get(start, old)
        result += [] if new is None else [new]
    return result + rewrite.added


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
@pytest.mark.parametrize("seed", range(10))
def test_the_document_gets_the_merged_history(seed: int, suffix: str) -> None:
    chance = random.Random(seed)
    for _ in range(10):
        numbers = range(12)
        ours, theirs = (
            [entry(number, chance.choice(["", "edited"])) for number in numbers if chance.random() < 0.6] for _ in "12"
        )
        parsed = document(ours, suffix)
        removed = {f"r{chance.choice(numbers)}": "2026-11-02T00:00:00.000Z"}
        merged = merge(Version(parsed.header, parsed.entries), Version({**HEADER, "removed": removed}, theirs))
        rewrite = rewrite_of(parsed, merged)
        assert rewrite is not None
        assert applied(parsed, rewrite) == merged.entries
        assert rewrite.header == merged.header
        kept = [one for one in merged.entries if any(one is old for old in parsed.entries)]
        assert len(parsed.entries) - len(rewrite.replaced) == len(kept)


def test_nothing_is_written_if_nothing_changes() -> None:
    parsed = document([entry(0), entry(1), entry(2)], ".json")
    assert rewrite_of(parsed, Merged(parsed.header, list(parsed.entries), ())) is None


def test_another_order_is_written_as_a_whole() -> None:
    parsed = document([entry(0), entry(1)], ".json")
    merged = Merged(parsed.header, parsed.entries[::-1], ())
    rewrite = rewrite_of(parsed, merged)
    assert rewrite is not None
    assert applied(parsed, rewrite) == merged.entries
