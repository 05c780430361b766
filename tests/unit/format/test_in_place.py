"""An unfinished run grows in place where that is safe. A crash loses nothing that was acknowledged, and a newer form is
never replaced by an older one."""

import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localstore import Conflict, JsonStorage, Message, Run, Step, ToolCall, YamlStorage
from localstore.disk import boot
from localstore.format.document import LAYOUTS
from localstore.format.in_place import overwrite_offset
from localstore.format.values import to_json_value
from localstore.models.schema import RunStatus
from tests import oracle
from tests.crashes import in_another_boot, leave_mark, states_after_kill
from tests.effort import IS_LONG, rounds
from tests.spreading import top_folder
from tests.unit.raw import Storage, answered, in_our_layout, question, rescued, run_ids
from tests.unit.watched_disk import WatchedDisk

MOMENT = "2026-11-22T07:01:20.123Z"
CALL = Message(role="assistant", tool_calls=[ToolCall(id="c1", name="look", arguments={"at": "Vienna"})])
FOUND = Message(role="tool", content="rain,\nand wind", tool_call_id="c1")


def form(*messages: Message, status: RunStatus = "unfinished", text: str = "what?", **more: Any) -> Run:
    """Return a form of the run `r2`: its question, then these messages."""
    asked = Message(role="user", content=text)
    return Run(run_id="r2", created_at=MOMENT, messages=[asked, *messages], status=status, **more)


def says(text: str, **more: Any) -> Message:
    return Message(role="assistant", content=text, **more)


def steps(count: int) -> list[Step]:
    return [Step(name=f"step {n}", created_at=MOMENT, output=f"line\nresult {n}") for n in range(count)]


def workflow(count: int, status: RunStatus = "unfinished") -> Run:
    """Return a workflow's run that has an input and no messages."""
    return Run(run_id="r2", created_at=MOMENT, input="go", steps=steps(count) or None, status=status)


MEMBERS = [Run(run_id=f"m{n}", agent_id="a", created_at=MOMENT, messages=[says("done")]) for n in range(2)]
IN_PLACE = {
    "rounds of tools": [
        form(),
        form(CALL, FOUND),
        form(CALL, FOUND, CALL, FOUND),
        form(CALL, FOUND, CALL, FOUND, says("so"), status="completed"),
    ],
    "steps": [
        form(),
        form(steps=steps(1)),
        form(steps=steps(3)),
        form(steps=steps(3), metrics={"input_tokens": 1}, status="completed"),
    ],
    "steps without messages": [
        workflow(0),
        workflow(1),
        workflow(3),
        workflow(4, "completed"),
    ],
    "member runs": [
        form(),
        form(member_runs=MEMBERS[:1]),
        form(member_runs=MEMBERS),
        form(member_runs=MEMBERS, model="m", status="error", error="no"),
    ],
    "the text of an answer": [
        form(says("It")),
        form(says("It is")),
        form(says("It is " + "so and " * 90 + "on")),
        form(says("It is " + "so and " * 90 + "only so"), model="m", status="completed"),
    ],
    "lines of an answer": [
        form(says("It\nis")),
        form(says("It\nis\n\n  so")),
        form(says("It\nis\n\n  so and\n- on 👩")),
        form(says("It\nis\n\n  so and\n- on 👩\nto the end"), status="completed"),
    ],
    "an answer, then a call": [
        form(says("Let me look")),
        form(says("Let me look it up")),
        form(says("Let me look it up", tool_calls=CALL.tool_calls), FOUND),
        form(says("Let me look it up", tool_calls=CALL.tool_calls), FOUND, says("rain"), status="completed"),
    ],
}


@pytest.mark.parametrize("fresh", [True, False], ids=["another handle each time", "one handle"])
@pytest.mark.parametrize("what", IN_PLACE)
def test_a_run_grows_in_place_and_is_finished_in_place(
    storage: Storage, disk: WatchedDisk, what: str, fresh: bool
) -> None:
    storage.append("s1", answered("r1"))
    first, *later = IN_PLACE[what]
    storage.append("s1", first)
    path = storage.path("s1")
    start = path.read_bytes().rindex({".json": b'    {\n      "type', ".yaml": b"- type"}[path.suffix])
    before = path.read_bytes()[:start]
    for grown in later:
        old = path.read_bytes()
        disk.forget()
        storage = type(storage)(storage.root) if fresh else storage
        storage.append("s1", grown)
        assert not disk.of("replace", name=path.name)
        assert min(call.offset for call in disk.of("write", name=path.name)) >= len(old) - len(b'"' * 80)
        assert path.read_bytes()[:start] == before
        assert oracle.parse(path).history[-1] == to_json_value(grown)
        assert in_our_layout(path)
    assert storage.list_sessions()[0].runs == 2


def test_a_run_that_is_not_the_last_entry_grows_by_a_rewrite(storage: Storage, disk: WatchedDisk) -> None:
    storage.append("s1", form())
    storage.append("s1", form(CALL, FOUND))
    storage.append("s1", answered("r3"))
    path = storage.path("s1")
    for grown in (form(CALL, FOUND, says("it is")), form(CALL, FOUND, says("it is so"), status="completed")):
        disk.forget()
        storage.append("s1", grown)
        assert disk.of("replace", name=path.name)
        assert oracle.parse(path).history[0] == to_json_value(grown)
        assert run_ids(path) == ["r2", "r3"]


@pytest.mark.parametrize("followed", [False, True], ids=["last", "others followed"])
def test_a_late_older_form_succeeds_without_writing(storage: Storage, disk: WatchedDisk, followed: bool) -> None:
    storage.append("s1", form())
    storage.append("s1", form(CALL, FOUND, says("it is so far")))
    if followed:
        storage.append("s1", answered("r3"))
    path = storage.path("s1")
    before = path.read_bytes()
    for late in (form(), form(CALL), form(CALL, FOUND, says("it is")), form(CALL, FOUND, says("it is so far"))):
        disk.forget()
        late.created_at = "2026-11-22T07:01:21.000Z"
        storage.append("s1", late)
        assert path.read_bytes() == before
        assert not disk.of("write", "replace", name=path.name)
        assert disk.of("sync", name=path.name)


@pytest.mark.parametrize("other", [form(text="what else?"), form(says("It was")), form(says("Say"), says("what?"))])
def test_an_unfinished_form_with_different_content_is_a_conflict(storage: Storage, other: Run) -> None:
    storage.append("s1", form(says("It is so")))
    before = storage.path("s1").read_bytes()
    with pytest.raises(Conflict, match="is unfinished and differs from the stored run"):
        storage.append("s1", other)
    assert storage.path("s1").read_bytes() == before
    storage.append("s1", form(says("It was"), status="completed"))
    assert oracle.parse(storage.path("s1")).history[0]["messages"][1]["content"] == "It was"


def test_a_form_with_more_keys_and_the_same_messages_is_written(storage: Storage) -> None:
    storage.append("s1", form(session_state={"n": 1}))
    storage.append("s1", form(session_state={"n": 2}))
    assert oracle.parse(storage.path("s1")).history[0]["session_state"] == {"n": 2}


def in_place(suffix: str, old: Run, new: Run) -> bool:
    layout = LAYOUTS[suffix]
    before, after = (layout.entry(to_json_value(run)) + layout.end for run in (old, new))
    return overwrite_offset(layout, before, after, 1_024) is not None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (form(), form(text="what? I say")),  # a question is never there in part
        (form(text="what\nis"), form(text="what\nis\nit?")),
        (form(steps=steps(1)), form(steps=[Step(**{**to_json_value(steps(1)[0]), "output": "line\nresult 0\nmore"})])),
        (form(FOUND), form(Message(**{**to_json_value(FOUND), "tool_call_id": "c12"}))),
        (form(Message(role="user", content="a")), form(Message(role="user", content="a", name="b"))),
        (form(says("It is so")), form(says("It"))),
        (form(model="m"), form(CALL, model="m")),
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_bytes_that_recovery_could_not_find_again_are_not_overwritten(suffix: str, old: Run, new: Run) -> None:
    assert not in_place(suffix, old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [("one", "one\ntwo"), ("one\n", "one\ntwo"), ("one\n", "one\ntwo\n"), ("one", "one: two"), ("no", "nothing")],
)
def test_text_whose_style_changes_in_yaml_is_a_rewrite(old: str, new: str) -> None:
    assert not in_place(".yaml", form(says(old)), form(says(new)))
    assert in_place(".json", form(says(old)), form(says(new)))


# What a crash leaves


def states(old: bytes, new: bytes) -> Iterator[bytes]:
    """Yield what the file may hold while it grows.

    Overwritten sectors are old, new or zero, the part beyond the old end may be cut anywhere, and a writer may be
    killed between two writes.
    """
    size = len(old)
    same = next(at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    border = size // 512 * 512
    step = max(1, (len(new) - size) // rounds(1, 6, 100))
    for end in [*range(size, len(new), step), len(new)]:
        yield old + new[size:end]
        yield new[:end]
        zeros = max(size, end // 512 * 512)
        yield new[:zeros] + bytes(len(new) - zeros)
        yield old + bytes(end - size)
    yield old[:same] + bytes(size - same) + new[size:]
    yield old[:same] + bytes(len(new) - same)
    if same < border < size:
        for first in (old, new):
            yield first[:border] + bytes(size - border) + new[size:]
            yield first[:border] + bytes(len(new) - border)


def _forget(manifest: Path, line: bytes, known: str) -> None:
    """Remove lines from the manifest: it then records all but the last write, an older form, or nothing.

    The machine was restarted since.
    """
    lines = line.splitlines(keepends=True)
    if known == "nothing":
        manifest.unlink(missing_ok=True)
    else:
        manifest.write_bytes(in_another_boot(line if known == "the last form" else b"".join(lines[:-1])))


def _is_between(found: Run, old: Run, new: Run) -> bool:
    """Whether a run contains at least the old form, and at most the new one."""
    if found in (old, new):
        return True
    texts = [[to_json_value(message) for message in run.messages] for run in (old, found, new)]
    least, there, most = (json.dumps(text, ensure_ascii=False).rstrip('"}]') for text in texts)
    count = [len(run.steps or []) + len(run.member_runs or []) for run in (old, found, new)]
    return (
        found.status == "unfinished" and most.startswith(there) and there.startswith(least) and count == sorted(count)
    )


def _places(what: str, turn: int) -> Iterator[tuple[int, int, Run, Run]]:
    """Yield a shift, the number of the growth, and its old and new form.

    The shift puts the end of the old form on both sides of a border between sectors, or into one sector. Each growth
    has one of the three, in turn; at the level `long` all of them.
    """
    for place, (old, new) in enumerate(itertools.pairwise(IN_PLACE[what])):
        shifts = (8, 24, 200)
        for shift in shifts if IS_LONG else shifts[(place + turn) % 3 :][:1]:
            yield shift, place, old, new


@pytest.mark.parametrize("known", ["the last form", "an older form", "nothing"])
@pytest.mark.parametrize("what", IN_PLACE)
def test_growth_cut_off_anywhere_keeps_acknowledged_content(
    storage: Storage, what: str, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "started_at", lambda: time.time_ns() + 10**9)
    tried = 0
    for shift, place, old, new in _places(what, turn=("the last form", "an older form", "nothing").index(known)):
        session_id = f"s{shift}{place}"
        for run in (answered("r1", "x"), *IN_PLACE[what][: place + 1]):
            storage.append(session_id, run)
        path, manifest = storage.path(session_id), storage.root / ".localstore/manifest.jsonl"
        closing = len(path.read_bytes())
        storage.delete_session(session_id)
        fill = "x" * (1 + (-closing + shift) % 512)
        for run in (answered("r1", fill), *IN_PLACE[what][: place + 1]):
            storage.append(session_id, run)
        before, line = path.read_bytes(), manifest.read_bytes()
        storage.append(session_id, new)
        after = path.read_bytes()
        for raw in states(before, after):
            tried += 1
            path.write_bytes(raw)
            _forget(manifest, line, known)
            shutil.rmtree(storage.root / ".localstore" / "rescue", ignore_errors=True)
            opened = type(storage)(storage.root, durability="relaxed")
            session = opened.read(session_id)
            assert session is not None, raw
            assert [run.run_id for run in session.runs] == ["r1", "r2"], raw
            assert _is_between(session.runs[1], old, new), (raw[-600:], session.runs[1])
            assert path.read_bytes() == raw, "a read changes nothing"
            opened.append(session_id, new)
            assert oracle.parse(path).history[1] == to_json_value(new), raw
        storage.delete_session(session_id)
    assert tried > rounds(20, 60, 1000)


@pytest.mark.parametrize("what", IN_PLACE)
def test_growth_whose_process_is_killed_is_undone_or_completed(storage: Storage, what: str) -> None:
    """The mark says which write was interrupted: the last form is there without a change, or the new one."""
    for shift, place, old, new in _places(what, turn=[*IN_PLACE].index(what)):
        session_id = f"s{shift}-{place}"
        for run in (answered("r1", "x"), *IN_PLACE[what][: place + 1]):
            storage.append(session_id, run)
        path = storage.path(session_id)
        closing = len(path.read_bytes())
        storage.delete_session(session_id)
        for run in (answered("r1", "x" * (1 + (-closing + shift) % 512)), *IN_PLACE[what][: place + 1]):
            storage.append(session_id, run)
        before = path.read_bytes()
        storage.append(session_id, new)
        after = path.read_bytes()
        cuts = states_after_kill(before, after)
        for raw in [*cuts[: -3 : rounds(7, 2, 1)], *cuts[-3:]]:
            path.write_bytes(raw)
            leave_mark(storage.root, session_id, before, after)
            opened = type(storage)(storage.root, durability="relaxed")
            session = opened.read(session_id)
            assert session is not None, raw
            assert session.runs[1] == (new if len(raw) == len(after) else old), raw
            opened.append(session_id, new)
            assert path.read_bytes() == after, raw
        storage.delete_session(session_id)


# Any sequence of forms

TEXTS = st.text(st.sampled_from("ab \n\t\"\\:#-'|1ü👩\x01\x85"), max_size=12)
ROUNDS = st.lists(st.sampled_from(["text", "text", "text", "tool", "call", "message"]), min_size=1, max_size=8)


@given(st.data(), ROUNDS, st.sampled_from([JsonStorage, YamlStorage]), st.booleans())
@settings(max_examples=rounds(12, 60, 600), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_sequence_of_forms_ends_in_the_last_one(
    data: st.DataObject, rounds: list[str], kind: type[Storage], with_steps: bool
) -> None:
    """The documents are read by independent parsers. Bytes before the entry change only in a rewrite."""
    root = Path(tempfile.mkdtemp(dir=top_folder()))
    try:
        storage = kind(root, durability="relaxed")
        storage.append("s1", answered("r1"))
        grown = form(text=data.draw(TEXTS))
        storage.append("s1", grown)
        path = storage.path("s1")
        start = len(path.read_bytes()) - len(
            LAYOUTS[path.suffix].entry(to_json_value(grown)) + LAYOUTS[path.suffix].end
        )
        for what in [*rounds, *(["step"] * 2 if with_steps else []), "finish"]:
            grown = grown.model_copy(deep=True)
            last = grown.messages[-1]
            if what == "text" and last.role == "assistant":
                last.content = f"{last.text}{data.draw(TEXTS)}"
            elif what == "step":
                grown.steps = [*(grown.steps or []), Step(name="s", created_at=MOMENT, output=data.draw(TEXTS))]
            elif what == "finish":
                grown.status, grown.model = "completed", data.draw(st.sampled_from([None, "m"]))
            else:
                grown.messages.append({"tool": FOUND, "call": CALL}.get(what, says(data.draw(TEXTS))).model_copy())
            before, inode = path.read_bytes(), path.stat().st_ino
            storage.append("s1", grown)
            if path.stat().st_ino == inode:
                assert path.read_bytes()[:start] == before[:start]
            assert oracle.parse(path).history[1:] == [to_json_value(grown)]
            assert in_our_layout(path)
        assert rescued(storage) == []
        assert not [name for name in os.listdir(path.parent) if name.endswith(".tmp")]
    finally:
        shutil.rmtree(root)


def test_a_question_of_a_run_that_grew_is_still_finished_by_its_id(storage: Storage) -> None:
    storage.append("s1", question("r1", status="unfinished"))
    storage.append("s1", form(says("a")))
    storage.append("s1", form(says("a b")))
    storage.append("s1", answered("r1"))
    session = storage.read("s1")
    assert session is not None
    assert [run.status for run in session.runs] == ["completed", "unfinished"]
