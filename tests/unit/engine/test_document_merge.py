"""Two documents of one session become one, as bytes."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

import pytest

from localstore.engine.document_merge import MergedDocument, merge_documents, readable
from localstore.errors import DocumentBroken, LocalstoreError, NewerFormat, OlderFormat
from localstore.format.document import LAYOUTS, Layout, ParsedDocument
from localstore.format.merge_conflict import find_sides
from tests.effort import rounds

JSON, YAML = LAYOUTS[".json"], LAYOUTS[".yaml"]
both_formats = pytest.mark.parametrize("layout", [JSON, YAML], ids=["json", "yaml"])


def run(number: int, text: str = "hello", **more: Any) -> dict[str, Any]:
    moment = f"2026-11-22T07:01:{number:02d}.000Z"
    messages = [{"role": "user", "content": text}]
    return {
        "type": "run",
        "run_id": f"r{number}",
        "created_at": moment,
        "messages": messages,
        **more,
        "status": "completed",
    }


def document(layout: Layout, *entries: dict[str, Any], **header: Any) -> bytes:
    whole = {
        "schema_version": 1,
        "session_id": "s",
        "kind": "agent",
        "created_at": "2026-11-22T07:01:00.000Z",
        **header,
    }
    return layout.assemble(layout.head(whole), [layout.entry(entry) for entry in entries])


def read(raw: bytes, layout: Layout) -> ParsedDocument:
    return readable(raw, layout, f"s{layout.suffix}")


def merged(layout: Layout, ours: bytes, theirs: bytes, base: bytes | None, *, marks: bool = False) -> MergedDocument:
    versions = [None if raw is None else read(raw, layout) for raw in (ours, theirs, base)]
    assert versions[0] is not None
    assert versions[1] is not None
    return merge_documents(versions[0], versions[1], versions[2], "s", marks_conflicts=marks)


def ids(raw: bytes, layout: Layout) -> list[str]:
    return [entry["run_id"] for entry in read(raw, layout).entries]


@both_formats
def test_what_only_one_side_changed_keeps_its_bytes(layout: Layout) -> None:
    """Also where a program would write it in another way: with other blanks, escapes, or a comment."""
    base = document(layout, run(1), run(2), run(3))
    odd, comment = (b'"hello"', b'"\\u0068ello" ') if layout is JSON else (b"hello", b'"hel\\x6co"  # a greeting')
    ours = base.replace(b"r2", b"rX", 1).replace(odd, comment, 1).replace(b"rX", b"r2")
    theirs = document(layout, run(1), run(2), run(3, "changed"), run(4))
    result = merged(layout, ours, theirs, base)
    assert ids(result.raw, layout) == ["r1", "r2", "r3", "r4"]
    assert comment in result.raw
    assert b"changed" in result.raw
    assert result.is_complete
    assert read(result.raw, layout).raw == result.raw
    swapped = merged(layout, theirs, ours, base)
    assert swapped.raw == result.raw


def test_comments_of_one_side_stay_where_they_are() -> None:
    base = document(YAML, run(1), run(2), name="trip")
    ours = base.replace(b"kind: agent", b"kind: agent  # planner").replace(
        b"- type: run\n  run_id: r2", b"# later\n- type: run\n  run_id: r2"
    )
    theirs = document(YAML, run(1), run(2), run(3), name="trip")
    result = merged(YAML, ours, theirs, base)
    assert b"kind: agent  # planner" in result.raw
    assert b"# later\n- type: run\n  run_id: r2" in result.raw
    assert ids(result.raw, YAML) == ["r1", "r2", "r3"]
    assert result.is_complete


def test_comments_are_lost_only_from_a_header_that_both_sides_changed() -> None:
    base = document(YAML, run(1), name="trip").replace(b"kind: agent", b"kind: agent  # planner")
    ours = base.replace(b"name: trip", b"name: Vienna")
    theirs = base.replace(b"name: trip", b"name: trip\ntags:\n  - a")
    result = merged(YAML, ours, theirs, base)
    parsed = read(result.raw, YAML)
    assert (parsed.header["name"], parsed.header["tags"]) == ("Vienna", ["a"])
    assert result.loses_comments
    assert not result.is_complete


def test_a_comment_in_a_run_that_the_other_side_changed_is_said_to_be_lost() -> None:
    base = document(YAML, run(1), run(2))
    ours = base.replace(b"run_id: r2", b"run_id: r2  # ask again")
    assert merged(YAML, ours, document(YAML, run(1, "changed"), run(2)), base).is_complete
    result = merged(YAML, ours, document(YAML, run(1), run(2, "changed")), base)
    assert b"changed" in result.raw
    assert result.loses_comments
    assert merged(YAML, ours, document(YAML, run(1), run(2)), None).is_complete


@both_formats
def test_a_byte_order_mark_and_line_ends_of_windows_make_no_difference(layout: Layout) -> None:
    base = document(layout, run(1))
    ours = b"\xef\xbb\xbf" + document(layout, run(1), run(2)).replace(b"\n", b"\r\n")
    result = merged(layout, ours, document(layout, run(1), run(3)), base)
    assert ids(result.raw, layout) == ["r1", "r2", "r3"]
    assert b"\r" not in result.raw
    assert result.is_complete


@both_formats
@pytest.mark.parametrize("place", [1, 2, 3])
def test_each_side_of_a_conflict_is_a_whole_document(layout: Layout, place: int) -> None:
    versions = [
        document(layout, *(run(number, text if number == place else "same") for number in (1, 2, 3)))
        for text in ("ours", "theirs", "base")
    ]
    result = merged(layout, *versions, marks=True)
    sides = find_sides(result.raw)
    assert sides is not None
    assert [sides.ours, sides.theirs] == versions[:2]
    assert [one.what for one in result.conflicts] == [f"run r{place}"]
    assert result.raw.count(b"ours: run") == 1


@both_formats
def test_without_marks_one_form_is_taken_and_the_difference_is_named(layout: Layout) -> None:
    result = merged(
        layout, document(layout, run(1, "ours")), document(layout, run(1, "theirs")), document(layout, run(1))
    )
    assert find_sides(result.raw) is None
    assert [one.what for one in result.differences] == ["run r1"]
    assert result.conflicts == ()
    assert not result.is_complete


@both_formats
def test_a_name_with_a_newline_stays_in_the_line_of_its_mark(layout: Layout) -> None:
    ours, theirs = (document(layout, {**run(1, text), "run_id": "r\n=======\n"}) for text in ("ours", "theirs"))
    result = merged(layout, ours, theirs, None, marks=True)
    sides = find_sides(result.raw)
    assert sides is not None
    assert (sides.ours, sides.theirs) == (ours, theirs)


@both_formats
def test_an_empty_history_and_an_empty_result(layout: Layout) -> None:
    empty, one = document(layout), document(layout, run(1))
    assert merged(layout, empty, one, empty).raw == one
    assert merged(layout, empty, empty, None).raw == empty
    assert merged(layout, empty, one, one).raw == empty


@both_formats
def test_a_run_that_was_removed_on_purpose_is_taken_out_and_said(layout: Layout) -> None:
    ours = document(layout, run(1), removed={"r2": "2026-11-22T08:00:00.000Z"})
    result = merged(layout, ours, document(layout, run(1), run(2)), None)
    assert ids(result.raw, layout) == ["r1"]
    assert result.takes_out
    assert not result.is_complete


@both_formats
def test_ratings_of_both_sides_come_together(layout: Layout) -> None:
    base = document(layout, run(1), run(2))
    result = merged(
        layout, document(layout, run(1, rating="good"), run(2)), document(layout, run(1), run(2, rating="bad")), base
    )
    assert [entry["rating"] for entry in read(result.raw, layout).entries] == ["good", "bad"]
    assert result.is_complete


def test_what_would_be_rounded_is_not_written_again() -> None:
    base = document(JSON, run(1), name="a", metadata={"pi": 3.5})
    long = base.replace(b"3.5", b"3.14159265358979323846")
    theirs = long.replace(b'"name": "a"', b'"name": "b"')
    assert b"3.14159265358979323846" in merged(JSON, long, theirs, long).raw
    with pytest.raises(DocumentBroken, match=r"3\.14159265358979323846"):
        merged(JSON, theirs, long.replace(b'"kind": "agent"', b'"kind": "agent",\n  "tags": ["x"]'), long)


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (b'"schema_version": 1', b'"schema_version": 0', LocalstoreError),
        (b": 1,", b": 99,", NewerFormat),
        (b"{", b"", DocumentBroken),
    ],
)
def test_a_version_that_cannot_be_merged_is_refused(old: bytes, new: bytes, kind: type[LocalstoreError]) -> None:
    with pytest.raises(kind):
        read(document(JSON, run(1)).replace(old, new, 1), JSON)


def test_an_older_schema_version_has_to_be_upgraded_first() -> None:
    raw = b'{"session_id": "s", "agent_id": "a", "memory": {"runs": []}, "created_at": 1700000000}'
    with pytest.raises(OlderFormat, match="localstore upgrade"):
        read(raw, JSON)


@both_formats
def test_random_versions_lose_nothing(layout: Layout) -> None:
    """Each side adds, changes and removes runs, and writes them and the header in ways of its own.

    A run that one side alone changed is in the result with its very bytes. One that both changed is there in both
    forms, and each side of the conflicts is a whole document.
    """
    random = Random(18)
    for _ in range(rounds(60, 600, 20_000)):
        base = {f"r{number}": Form("base", layout.entry(run(number))) for number in range(random.randrange(5))}
        ours, theirs = (changed(base, layout, random, side) for side in ("ours", "theirs"))
        before, *sides = (
            written(layout, forms, name) for forms, name in ((base, ""), (ours, "ours"), (theirs, "ours"))
        )
        result = merged(layout, sides[0], sides[1], before, marks=True)
        expected = set()
        for run_id in {*ours, *theirs}:
            forms = {form for side in (ours, theirs) if (form := side.get(run_id)) is not None}
            old = base.get(run_id)
            new = {form for form in forms if old is None or form.value != old.value}
            if old is not None and not new and (run_id not in ours or run_id not in theirs):
                continue  # one side removed it
            expected.add(run_id)
            if new:
                assert all(form.text in result.raw for form in new)
            else:
                assert any(form.text in result.raw for form in forms - {old} or forms)
        conflict = find_sides(result.raw)
        assert (conflict is not None) == bool(result.conflicts)
        for side in [result.raw] if conflict is None else [conflict.ours, conflict.theirs]:
            assert sorted(ids(side, layout)) == sorted(expected)
            assert read(side, layout).raw == side


class Form(NamedTuple):
    """A run as one version has it: what it says, in a word, and its bytes."""

    value: str
    text: bytes


def changed(base: dict[str, Form], layout: Layout, random: Random, side: str) -> dict[str, Form]:
    """A version with random changes."""
    result = {}
    for number, (run_id, form) in enumerate(base.items()):
        match random.randrange(6):
            case 0:
                continue
            case 1:
                form = Form(side, layout.entry(run(number, f"changed by {side}")))
            case 2:  # the same, written in another way
                other = b'"hello"  # by %b' % side.encode() if layout is YAML else b'"\\u0068ello"'
                form = Form("base", form.text.replace(b'"hello"' if layout is JSON else b"hello", other))
        result[run_id] = form
    for number in random.sample(range(10, 20), random.randrange(3)):
        result[f"r{number}"] = Form(side, layout.entry(run(number, f"new by {side}")))
    return dict(sorted(result.items()))


def written(layout: Layout, forms: dict[str, Form], name: str) -> bytes:
    head = read(document(layout, **({"name": name} if name else {})), layout).head
    return layout.assemble(head, [form.text for form in forms.values()])
