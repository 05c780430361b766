"""The merge that git asks for: its notes, and what it does with versions that do not belong together."""

from __future__ import annotations

import pytest

from localstore.errors import DocumentBroken, NewerFormat
from localstore.format.document import LAYOUTS, Layout
from localstore.format.merge_conflict import find_sides
from localstore.maintenance.git_merge import merge_for_git, unite_sides
from tests.unit.engine.test_document_merge import JSON, YAML, both_formats, document, ids, read, run

PATH = "my store/sessions/2026-11/s"


@both_formats
def test_new_runs_of_both_sides_need_no_word(layout: Layout) -> None:
    base = document(layout, run(1))
    result = merge_for_git(
        base, document(layout, run(1), run(3)), document(layout, run(1), run(2)), PATH + layout.suffix
    )
    assert (ids(result.raw, layout), result.notes, result.is_conflict) == (["r1", "r2", "r3"], (), False)


@both_formats
def test_a_conflict_is_named_with_its_run(layout: Layout) -> None:
    versions = [document(layout, run(1, text)) for text in ("base", "ours", "theirs")]
    result = merge_for_git(versions[0], versions[1], versions[2], PATH + layout.suffix)
    assert result.is_conflict
    assert result.notes == (
        f"{PATH}{layout.suffix}: both sides changed run r1. Keep what you want between its conflict markers.",
    )


def test_other_differences_are_named_and_are_no_conflict() -> None:
    base = document(JSON, run(1), run(2), name="a")
    ours = document(JSON, run(1), run(2, "changed"), run(3), name="b" * 99)
    theirs = document(JSON, run(1), name="c")
    result = merge_for_git(base, ours, theirs, f"{PATH}.json")
    assert not result.is_conflict
    assert ids(result.raw, JSON) == ["r1", "r2", "r3"]
    first, second = sorted(result.notes)
    assert first.startswith(f'{PATH}.json: both sides changed name. It is now "bbb')
    assert first.endswith('…, and was "c" on the other side.')
    assert second == f"{PATH}.json: one side removed run r2, and the other one changed it. It stays."


def test_lost_comments_of_a_header_are_named() -> None:
    base = document(YAML, run(1), name="a").replace(b"kind: agent", b"kind: agent  # planner")
    theirs = base.replace(b"name: a", b"name: a\ntags: [x]")
    result = merge_for_git(base, base.replace(b"name: a", b"name: b"), theirs, f"{PATH}.yaml")
    assert "comments of one side are not in it" in result.notes[0]
    assert not result.is_conflict


@both_formats
def test_a_common_version_with_a_conflict_decides_nothing_about_it(layout: Layout) -> None:
    """Git made it of two common versions. What is outside the conflict is still known to both sides."""
    texts = [document(layout, run(1, text), run(2), run(3)) for text in ("x", "y")]
    base = merge_for_git(document(layout, run(1), run(2), run(3)), texts[0], texts[1], PATH + layout.suffix)
    assert base.is_conflict
    ours, theirs = document(layout, run(1, "x"), run(2)), document(layout, run(1, "y"), run(2), run(3), run(4))
    result = merge_for_git(base.raw, ours, theirs, PATH + layout.suffix)
    sides = find_sides(result.raw)
    assert sides is not None
    assert ids(sides.ours, layout) == ids(sides.theirs, layout) == ["r1", "r2", "r4"]


def test_a_broken_common_version_is_as_good_as_none() -> None:
    result = merge_for_git(b"{", document(JSON, run(1)), document(JSON, run(2)), f"{PATH}.json")
    assert ids(result.raw, JSON) == ["r1", "r2"]


@pytest.mark.parametrize("own_name", ["s", "other"])
def test_two_sessions_stay_apart(own_name: str) -> None:
    """The version whose session has the name of the file stays, and the note says how to get the other one."""
    ours, theirs = document(JSON, run(1)), document(JSON, run(1)).replace(b'"s"', b'"other"')
    path = f"my store/sessions/2026-11/{own_name}.json"
    result = merge_for_git(ours, ours, theirs, path)
    assert result.is_conflict
    assert result.raw == (ours if own_name == "s" else theirs)
    stage, other = (3, "other") if own_name == "s" else (2, "s")
    assert f"git show ':{stage}:{path}' > 'my store/sessions/2026-11/{other}.json'" in result.notes[0]


@pytest.mark.parametrize(
    ("ours", "path", "kind"),
    [
        (b"", "s.json", DocumentBroken),
        (b"{}", "s.txt", DocumentBroken),
        (b'{"schema_version": 9}', "s.json", NewerFormat),
    ],
)
def test_what_cannot_be_merged_is_refused(ours: bytes, path: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        merge_for_git(b"", ours, document(JSON, run(1)), path)


@both_formats
def test_sides_of_two_sessions_or_of_a_broken_one_are_not_united(layout: Layout) -> None:
    versions = [document(layout, run(1, text)) for text in ("base", "ours", "theirs")]
    raw = merge_for_git(versions[0], versions[1], versions[2], PATH + layout.suffix).raw
    united = unite_sides(raw, layout, PATH)
    assert united is not None
    assert read(united.raw, layout).header["session_id"] == united.session_id == "s"
    head = layout.head(read(versions[0], layout).header)
    other = head.replace(b'"s"' if layout is JSON else b"session_id: s", b'"o"' if layout is JSON else b"session_id: o")
    two = raw.replace(head, b"<<<<<<< a\n" + head + b"=======\n" + other + b">>>>>>> b\n")
    assert unite_sides(two, layout, PATH) is None
    assert unite_sides(raw.replace(b"theirs", b'"th"eirs: ['), layout, PATH) is None
    assert unite_sides(versions[0], layout, PATH) is None
    assert LAYOUTS[layout.suffix] is layout
