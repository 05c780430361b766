"""What a row counts over the runs of a session."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstore import JsonStorage, Message, Metrics, Run
from localstore.format.document import parse_document
from localstore.format.json_layout import LAYOUT as JSON
from localstore.index.overview import is_overview, new_overview, with_run
from localstore.index.row import after_append, after_finish, row_of
from localstore.maintenance.check import check
from tests.unit.raw import Storage

NOW = "2026-11-22T07:01:20.123Z"


def run(**fields: Any) -> dict[str, Any]:
    return {"type": "run", "run_id": "r", "created_at": NOW, **fields}


def counted(*runs: dict[str, Any]) -> Any:
    overview = new_overview({})
    for entry in runs:
        overview = with_run(overview, entry, entry["created_at"], replaces_unfinished=False)
    return overview


def test_a_run_counts_with_its_month_model_tokens_and_time() -> None:
    metrics = {"input_tokens": 10, "output_tokens": 2, "cached_tokens": 4, "duration_seconds": 1.5}
    overview = counted(
        run(model="m", metrics=metrics, rating="good", messages=[{"role": "user", "content": "a\n b"}]),
        run(model="m", metrics=metrics, rating="good", status="error", created_at="2026-12-01T00:00:00.000Z"),
    )
    assert overview == {
        "question": "a b",
        "status": "error",
        "usage": {"2026-11": {"m": [1, 0, 10, 2, 4, 1500]}, "2026-12": {"m": [1, 1, 10, 2, 4, 1500]}},
        "ratings": {"good": 2},
    }
    assert is_overview(overview)


def test_the_tokens_of_members_count_for_their_models() -> None:
    member = run(model="small", metrics={"input_tokens": 30, "duration_seconds": 9})
    team = run(model="big", metrics={"input_tokens": 100, "duration_seconds": 10}, member_runs=[member])
    assert counted(team)["usage"] == {"2026-11": {"big": [1, 0, 70, 0, 0, 10000], "small": [0, 0, 30, 0, 0, 0]}}
    flow = run(metrics={"input_tokens": 30}, steps=[{"name": "s", "member_runs": [member]}])
    assert counted(flow)["usage"] == {"2026-11": {"": [1, 0, 0, 0, 0, 0], "small": [0, 0, 30, 0, 0, 0]}}


def test_a_member_without_a_model_and_tokens_adds_nothing() -> None:
    """The end of an unfinished run removed the empty count that such a member had made, and the row differed from the
    document: `check` had an error for a manifest that no one had damaged."""
    team = run(model="big", member_runs=[run()])
    question = run(status="unfinished")
    overview = with_run(counted(team, question), run(model="big"), NOW, replaces_unfinished=True)
    assert overview == counted(team, run(model="big"))
    assert overview["usage"] == {"2026-11": {"big": [2, 0, 0, 0, 0, 0]}}


@pytest.mark.parametrize("value", [-1, 2**63, 1e300, None])
def test_a_number_that_is_no_count_is_zero(value: Any) -> None:
    """A count beyond 64 bits could not be written to the manifest, and the append would have failed."""
    overview = counted(*[run(metrics={"input_tokens": value, "duration_seconds": value})] * 3)
    assert overview["usage"] == {"2026-11": {"": [3, 0, 0, 0, 0, 0]}}


def test_sums_stay_in_the_range_of_the_manifest() -> None:
    overview = counted(*[run(metrics={"input_tokens": 2**53 - 1})] * 3)
    assert overview["usage"]["2026-11"][""][2] == 2**53 - 1


def test_a_long_question_is_shortened() -> None:
    assert counted(run(input="x" * 500))["question"] == "x" * 79 + "…"
    assert "question" not in counted(run(), run(messages=[{"role": "assistant", "content": "x"}]))


@pytest.mark.parametrize(
    ("value", "title"),
    [
        (
            {"city": "Linz", "days": 3, "by": ["train", None, "bus"], "note": None},
            "city: Linz, days: 3, by: train, bus",
        ),
        ({"dry": True, "where": {"city": "Graz\nor\tWels"}}, "dry: true, where: city: Graz or Wels"),
        (["Linz", "Graz"], "Linz, Graz"),
        (7, "7"),
    ],
)
def test_the_input_of_a_workflow_is_a_readable_question(value: Any, title: str) -> None:
    """It was left out unless it was text: the session had no title in any listing."""
    assert counted(run(input=value))["question"] == title
    assert "question" not in counted(run(input={}), run(input={"a": None}), run(input=[]))


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"usage": []},
        {"usage": {"2026-11": {"m": [1]}}},
        {"usage": {}, "ratings": 1},
        {"usage": {}, "status": 1},
    ],
)
def test_an_invalid_overview_is_recognised(value: Any) -> None:
    assert not is_overview(value)


@pytest.mark.parametrize("value", [None, 5, "x", [], {}, ["x"], [{}], {"x": 1}])
@pytest.mark.parametrize("key", ["model", "status", "rating", "metrics", "messages", "member_runs", "steps", "input"])
def test_a_wrong_type_in_a_document_is_not_counted(key: str, value: Any) -> None:
    """A person may type anything. The session is listed all the same, and `check` names the place."""
    assert is_overview(counted(run(**{key: value})))
    assert is_overview(counted(run(steps=[{key: value, "member_runs": [{key: value}]}], messages=[{key: value}])))
    assert is_overview(new_overview({"forked_from": value}))


RUNS = st.fixed_dictionaries(
    {"created_at": st.sampled_from([NOW, "2026-12-31T23:30:00-02:00", "soon"])},
    optional={
        "status": st.sampled_from(["completed", "error", "cancelled", "odd"]),
        "model": st.sampled_from(["a", "b"]),
        "rating": st.sampled_from(["good", "bad", "so-so"]),
        "input": st.sampled_from(["What?", 5]),
        "metrics": st.fixed_dictionaries(
            {}, optional={"input_tokens": st.integers(0, 2**63), "duration_seconds": st.floats(0, 1e6)}
        ),
    },
)


@given(st.lists(st.tuples(RUNS, st.booleans()), max_size=8))
def test_counting_as_runs_are_added_and_finished_is_counting_the_document(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[dict[str, Any], bool]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "file"
    file.touch()
    header = {"schema_version": 1, "session_id": "s", "kind": "agent", "created_at": NOW}
    entries = [{"type": "run", "run_id": f"r{n}", **fields} for n, (fields, _) in enumerate(runs)]

    def row(entries: list[dict[str, Any]]) -> Any:
        raw = JSON.assemble(JSON.head(header), [JSON.entry(entry) for entry in entries])
        return row_of(parse_document(raw, JSON, "f"), "sessions/a/s.json", file.stat(), None)

    grown = row([])
    for entry, (_, in_two) in zip(entries, runs, strict=True):
        if in_two:
            started = {key: value for key, value in entry.items() if key != "metrics"} | {"status": "unfinished"}
            grown = after_finish(after_append(grown, started, 0), started, 0)
            grown = after_finish(grown, entry, 0)
        else:
            grown = after_append(grown, entry, 0)
    assert grown["overview"] == row(entries)["overview"]


def answered(run_id: str, **fields: Any) -> Run:
    messages = [Message(role="user", content="Where?"), Message(role="assistant", content="There.")]
    return Run(run_id=run_id, messages=messages, model="m", metrics=Metrics(input_tokens=7), **fields)


def test_a_wrong_count_in_the_manifest_is_found_by_check(storage: Storage) -> None:
    """A row whose counts are wrong although its file is unchanged is an error of `check`."""
    storage.append("s", answered("r1"))
    assert list(check(storage)) == []
    manifest = Path(storage.root, ".localstore/manifest.jsonl")
    *_, last = manifest.read_text().splitlines()
    row = json.loads(last)
    row["overview"]["usage"] = {}
    with manifest.open("a") as lines:
        lines.write(json.dumps(row, separators=(",", ":")) + "\n")
    (finding,) = check(storage)
    assert "overview" in finding.problem


def test_the_counts_of_an_old_manifest_line_are_missing_not_wrong(tmp_path: Path) -> None:
    """Lines of earlier releases have no counts. They are valid, and an append to such a session reads no more."""
    storage = JsonStorage(tmp_path)
    storage.append("s", answered("r1"))
    manifest = tmp_path / ".localstore/manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows:
        row.pop("overview", None)
    manifest.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    other = JsonStorage(tmp_path)
    assert list(check(other)) == []
    other.append("s", answered("r2"))
    assert "overview" not in json.loads(manifest.read_text().splitlines()[-1])
    assert list(check(other)) == []
