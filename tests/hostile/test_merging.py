"""Another store with hostile documents is merged: each is merged or named, and nothing here is lost."""

from collections import Counter
from pathlib import Path
from random import Random

from localstore import JsonStorage
from localstore.maintenance.check import check
from tests.effort import rounds
from tests.hostile.mutations import mutant
from tests.hostile.worker import corpora
from tests.unit.raw import answered

TOGETHER = 25
"""How many hostile documents are in a store."""


def test_hostile_documents_of_another_store_are_merged_or_named(tmp_path: Path) -> None:
    """This store has the good form of each session, and one more run."""
    found = corpora(tmp_path / "corpora")
    counts: Counter[str] = Counter()
    for number in range(rounds(3, 12, 1000)):
        rng = Random(number)
        storage, other = (JsonStorage(tmp_path / f"{name}-{number}") for name in ("here", "there"))
        before = {}
        for place in range(TOGETHER):
            session_id = f"h{number:06}{place:05}"
            hostile = mutant(rng, rng.choice(found), session_id.encode())
            for root, raw in ((storage.root, hostile.base), (other.root, hostile.raw)):
                path = root / "sessions" / "2026-11" / f"{session_id}{hostile.suffix}"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(raw)
            storage.append(session_id, answered("mine"))
            session = storage.read(session_id)
            assert session is not None
            before[session_id] = {run.run_id for run in session.runs}
        theirs = {path: path.read_bytes() for path in other.root.glob("sessions/*/*")}

        done = storage.merge_from(other)

        counts.update(merged=len(done.extended), unchanged=done.unchanged, skipped=len(done.skipped))
        for session_id, run_ids in before.items():
            session = storage.read(session_id)
            assert session is not None
            removed = set(session.removed or ())
            assert run_ids <= {run.run_id for run in session.runs} | removed
        assert {path: path.read_bytes() for path in other.root.glob("sessions/*/*")} == theirs
        added = {str(storage.path(session_id)) for session_id in done.added}  # a mutation made another id
        assert [one for one in check(storage) if one.severity == "error" and str(one.path) not in added] == []
        again = storage.merge_from(other)
        assert (again.added, again.extended) == ([], [])
    assert all(counts[outcome] for outcome in ("merged", "unchanged", "skipped")), counts
