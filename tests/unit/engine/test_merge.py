"""Two versions of a session become one: nothing is lost or doubled, and either may be merged into the other."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstore.engine.merge import Difference, Entry, Merged, Version, canonical, keyed, merge
from localstore.engine.removal import Removals, together
from localstore.format.document import newest_state
from localstore.format.values import json_equal
from tests.effort import rounds

DAY = "2026-11-22T07:"


def time(minute: int) -> str:
    return f"{DAY}{minute // 60:02}:{minute % 60:02}.000Z"


def run(number: int, at: int | None = None, **more: Any) -> Entry:
    """Return the finished run `r<number>`, created at that minute."""
    fields = {"messages": [{"role": "user", "content": f"question {number}"}], **more}
    entry = {"type": "run", "run_id": f"r{number}", "created_at": time(number if at is None else at), **fields}
    return {**entry, "status": entry.pop("status", "completed")}


def update(at: int, **state: Any) -> Entry:
    return {"type": "update", "created_at": time(at), "session_state": state}


def version(*entries: Entry, **header: Any) -> Version:
    fixed = {"schema_version": 1, "session_id": "s1", "kind": "agent", "created_at": time(0)}
    return Version({**fixed, **header}, list(entries))


def ids(merged: Merged | Version) -> list[str]:
    return [entry["run_id"] for entry in merged.entries if entry["type"] == "run"]


def as_version(merged: Merged) -> Version:
    return Version(merged.header, merged.entries)


def runs(merged: Merged | Version) -> list[str]:
    """Return the runs as text, in an order that does not depend on that of the history."""
    return sorted(canonical(entry) for entry in merged.entries if entry["type"] == "run")


# Single cases


def test_runs_of_both_sides_are_in_the_order_of_their_creation() -> None:
    """Each run is there once, as the same object, and no header or list of the versions changes."""
    ours, theirs = version(run(1), run(2), run(5)), version(run(1), run(3), run(4), run(6))

    merged = merge(ours, theirs)

    assert ids(merged) == ["r1", "r2", "r3", "r4", "r5", "r6"]
    assert merged.entries[1] is ours.entries[1]
    assert merged.entries[2] is theirs.entries[1]
    assert merged.differences == ()
    assert merged.header == ours.header


def test_our_entries_come_first_at_equal_times() -> None:
    """The order of each side is kept, also where its times go back."""
    ours, theirs = version(run(1, 5), run(2, 3)), version(run(3, 5), run(4, 2))

    assert ids(merge(ours, theirs)) == ["r1", "r2", "r3", "r4"]
    assert ids(merge(theirs, ours)) == ["r3", "r4", "r1", "r2"]


def test_an_entry_stays_between_the_common_entries_around_it() -> None:
    """The place of an entry counts more than its time, which a wrong clock may have given."""
    ours, theirs = version(run(1), run(2), run(3)), version(run(1), run(9, 50), run(2), run(3))

    assert ids(merge(ours, theirs)) == ids(merge(theirs, ours)) == ["r1", "r9", "r2", "r3"]


def test_the_side_that_changed_the_order_of_the_base_decides() -> None:
    """Without a base, it is the side with the newer history."""
    base, moved = version(run(1), run(2)), version(run(2), run(1))

    assert ids(merge(moved, base, base)) == ids(merge(base, moved, base)) == ["r2", "r1"]
    newer = version(run(2), run(1), run(3))
    assert ids(merge(newer, base)) == ids(merge(base, newer)) == ["r2", "r1", "r3"]


def test_entries_without_an_id_are_matched_by_their_content() -> None:
    """Two equal updates of one side are two; the same two on both sides are not four."""
    ours, theirs = version(update(1, a=1), update(1, a=1)), version(update(1, a=1), update(2, a=2))

    assert merge(ours, theirs).entries == [update(1, a=1), update(1, a=1), update(2, a=2)]


def test_an_unfinished_run_loses_to_a_form_that_continues_it() -> None:
    """It does not matter on which side the finished form is; nothing is reported."""
    question = {"role": "user", "content": "what?"}
    begun = run(1, messages=[question], status="unfinished")
    longer = run(1, messages=[question, {"role": "assistant", "content": "so"}], status="unfinished")
    finished = run(1, messages=[question, {"role": "assistant", "content": "so it is"}])

    for first, second in ((begun, longer), (begun, finished), (longer, finished)):
        for merged in (merge(version(first), version(second)), merge(version(second), version(first))):
            assert merged.entries == [second]
            assert merged.differences == ()


def test_an_edit_of_a_run_that_grew_elsewhere_is_reported() -> None:
    """A person took a message out of an unfinished run, or set a field, and the run went on: that is no growth."""
    question, answer = ({"role": role, "content": "so"} for role in ("user", "assistant"))
    base = run(1, messages=[question, answer], status="unfinished")
    grown = run(1, messages=[question, answer, question, answer])
    for edited in (
        run(1, messages=[question], status="unfinished"),
        run(1, messages=[question, answer], output="mine", status="unfinished"),
    ):
        for sides in ((edited, grown), (grown, edited)):
            merged = merge(version(sides[0]), version(sides[1]), version(base))
            assert merged.entries == [grown]
            assert [difference.lost for difference in merged.differences] == [edited]
    longer = run(1, messages=[question, answer, question], status="unfinished")
    assert merge(version(longer), version(grown), version(base)) == merge(version(grown), version(grown))


def test_the_time_of_creation_is_the_earlier_one_unless_only_one_side_changed_it() -> None:
    base, edited = version(run(1), created_at=time(1)), version(run(1), created_at=time(3))

    assert merge(base, edited).header["created_at"] == merge(edited, base).header["created_at"] == time(1)
    assert merge(base, edited, base).header["created_at"] == merge(edited, base, base).header["created_at"] == time(3)


def test_two_different_forms_of_a_run_are_reported() -> None:
    """The one in the newer history counts. A finished form counts more than an unfinished one that says otherwise."""
    one, other = run(1, output=1), run(1, output=2)

    merged = merge(version(one, run(3)), version(other, run(2)))

    assert merged.entries[0] is one
    assert merged.differences == (Difference("run r1", one, other, "ours", "r1"),)
    assert merged.differences[0].lost is other
    begun = run(1, messages=[{"role": "user", "content": "another"}], status="unfinished")
    assert merge(version(one), version(begun, run(3))).differences == (Difference("run r1", one, begun, "ours", "r1"),)


def test_a_rating_is_kept_with_the_other_form_of_the_run() -> None:
    """The rating is no part of the run: it is merged by itself."""
    begun, finished = run(1, status="unfinished", rating="good", rating_note="well"), run(1, output=1)

    merged = merge(version(begun), version(finished))

    assert merged.entries == [run(1, output=1, rating="good", rating_note="well")]
    assert merged.differences == ()


def test_the_later_of_two_ratings_counts() -> None:
    """The other is reported. With a base, the rating that was changed counts, also if it was removed."""
    good, bad, plain = run(1, rating="good"), run(1, rating="bad"), run(1)

    merged = merge(version(good), version(bad, run(2)))

    assert merged.entries == [bad, run(2)]
    lost = Difference("rating of run r1", {"rating": "good"}, {"rating": "bad"}, "theirs")
    assert merged.differences == (lost,)
    assert merge(version(good), version(bad, run(2)), version(bad)).entries == [good, run(2)]
    assert merge(version(good, run(2)), version(plain), version(good)).entries == [plain, run(2)]


def test_an_edit_and_a_rating_of_the_same_run_are_both_kept() -> None:
    """A person rated the run on one side, and edited it on the other."""
    merged = merge(version(run(1, rating="bad")), version(run(1, output=7)), version(run(1)))

    assert merged.entries == [run(1, output=7, rating="bad")]
    assert merged.differences == ()


def test_a_base_says_what_only_one_side_changed() -> None:
    """An edit counts whichever side made it; an edit on both sides is reported."""
    base, edited, other = version(run(1)), version(run(1, output=1)), version(run(1, output=2), run(2))

    assert merge(base, edited, base).entries == merge(edited, base, base).entries == edited.entries
    merged = merge(edited, other, base)
    assert merged.entries == other.entries
    assert [difference.what for difference in merged.differences] == ["run r1"]


def test_a_run_that_a_person_deleted_stays_deleted_unless_the_other_side_changed_it() -> None:
    """Only a base shows that. A run that was changed meanwhile stays, and is reported."""
    base, without, rated = version(run(1), run(2)), version(run(1)), version(run(1), run(2, rating="good"))

    for merged in (merge(base, without, base), merge(without, base, base)):
        assert merged.entries == [run(1)]
        assert merged.taken_out(base) == [run(2)]
    merged = merge(without, rated, base)
    assert merged.entries == rated.entries
    assert merged.differences == (Difference("run r2", None, rated.entries[1], "theirs", "r2"),)


def test_a_run_that_was_removed_on_purpose_stays_removed() -> None:
    """The removal is in the header of one side; the other has never heard of it."""
    ours, theirs = version(run(1), removed={"r2": time(9)}), version(run(1), run(2), run(3))

    for merged in (merge(ours, theirs), merge(theirs, ours), merge(ours, theirs, version(run(1), run(2)))):
        assert ids(merged) == ["r1", "r3"]
        assert merged.header["removed"] == {"r2": time(9)}
        assert merged.taken_out(theirs) == [run(2)]


def test_a_run_that_was_put_back_beats_the_removal_it_knows_of() -> None:
    """A later removal beats that again."""
    back = version(run(1), run(2), removed={"r2": time(9)})
    gone, gone_again = version(run(1), removed={"r2": time(9)}), version(run(1), removed={"r2": time(10)})

    assert ids(merge(back, gone)) == ids(merge(gone, back)) == ["r1", "r2"]
    assert ids(merge(back, gone_again)) == ids(merge(gone_again, back)) == ["r1"]


def test_the_later_name_and_tags_and_metadata_count() -> None:
    """Metadata is merged by key. What the other side had is reported; what only one side has is added."""
    ours = version(run(1), name="mine", tags=["a"], metadata={"city": "Vienna", "a": None})
    theirs = version(run(2), name="yours", user_id="u1", metadata={"city": "Graz", "b": 2})

    merged = merge(ours, theirs)

    assert (
        merged.header
        == version(name="yours", tags=["a"], user_id="u1", metadata={"city": "Graz", "b": 2, "a": None}).header
    )
    assert set(merged.differences) == {
        Difference("name", "mine", "yours", "theirs"),
        Difference("metadata.city", "Vienna", "Graz", "theirs"),
    }
    assert list(merged.header)[3:6] == ["user_id", "name", "tags"]


def test_a_header_field_that_only_one_side_changed_needs_no_decision() -> None:
    """Also if it was removed there."""
    base = version(run(1), name="old", tags=["a"])

    merged = merge(version(run(1), name="new", tags=["a"]), version(run(1), run(2), name="old"), base)

    assert merged.header == version(name="new").header
    assert merged.differences == ()


def test_two_machines_make_the_same_choice_if_the_histories_end_at_the_same_time() -> None:
    """The value decides then, and not the side."""
    ours, theirs = version(run(1, output="a"), name="a"), version(run(1, output="b"), name="b")

    one, other = merge(ours, theirs), merge(theirs, ours)

    assert one.header == other.header
    assert one.entries == other.entries


def test_state_keys_of_both_sides_are_in_the_newest_state() -> None:
    """The newest state in a history replaces older ones, so a merge adds an update with what it would hide."""
    base = version(update(1, city="Vienna", count=1))
    ours = version(*base.entries, run(2, session_state={"city": "Graz", "count": 1}))
    theirs = version(*base.entries, run(3, session_state={"city": "Vienna", "count": 2}))

    for merged in (merge(ours, theirs), merge(theirs, ours), merge(ours, theirs, base)):
        assert merged.entries[1:] == [ours.entries[1], theirs.entries[1], update(3, city="Graz", count=2)]
        assert merged.differences == ()
        again = merge(merged_version := as_version(merged), ours)
        assert again.entries == merged_version.entries


def test_the_later_state_key_counts_and_the_other_is_reported() -> None:
    """No update is needed: the newest state of the history is the merged one."""
    ours, theirs = version(update(1, n=0), update(2, n=1)), version(update(1, n=0), update(3, n=2))

    merged = merge(ours, theirs)

    assert merged.entries == [update(1, n=0), update(2, n=1), update(3, n=2)]
    assert merged.differences == (Difference("session_state.n", 1, 2, "theirs"),)


def test_a_later_removal_of_a_state_key_counts_too() -> None:
    """The change on the other side is reported."""
    common = update(1, draft="x", n=0)
    ours, theirs = version(common, update(2, draft="y", n=0)), version(common, update(3, n=1))

    for merged in (merge(ours, theirs), merge(ours, theirs, version(common))):
        assert merged.entries == [common, *ours.entries[1:], *theirs.entries[1:]]
        assert merged.differences == (Difference("session_state.draft", "y", None, "theirs"),)


def test_an_older_copy_does_not_bring_back_a_state_key() -> None:
    """The other side went on from that copy and removed the key."""
    old = version(update(1, draft="x", n=0))
    new = version(update(1, draft="x", n=0), update(2, n=0))

    assert merge(old, new).entries == merge(new, old).entries == new.entries


def test_items_are_matched_by_their_id() -> None:
    """An item in two forms is reported with its id."""
    one, other = ({"type": "item", "item_id": "i1", "created_at": time(1), "data": {"n": n}} for n in (1, 2))

    merged = merge(version(one), version(other))

    assert merged.entries == [other]
    assert merged.differences == (Difference("item i1", one, other, "theirs", "i1"),)


def test_a_history_nested_deeper_than_the_writer_allows_is_merged() -> None:
    """A person may have such a document. An entry without an id is compared by its content."""
    value: list[Any] = []
    for _ in range(300):
        value = [value]
    ours = version({"type": "note", "value": value})

    assert merge(ours, version({"type": "note", "value": value}, run(1))).entries == [*ours.entries, run(1)]


# Properties

forms: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"status": "unfinished"},
        {"status": "unfinished", "output": 1},
        {},
        {"output": 1},
        {"output": 2},
        {"rating": "good"},
        {"rating": "bad", "rating_note": "no"},
    ]
)


@st.composite
def versions(draw: st.DrawFn) -> Version:
    """Any version of the session: some of a few runs in any form, updates, removals, header fields."""
    entries: list[Entry] = []
    for number in draw(st.lists(st.integers(1, 6), unique=True)):
        entries.append(run(number, **draw(forms)))
    for at in draw(st.lists(st.integers(1, 6), max_size=2)):
        entries.append(update(at, **draw(st.dictionaries(st.sampled_from("ab"), st.integers(0, 2)))))
    entries.sort(key=lambda entry: entry["created_at"])
    header: dict[str, Any] = {}
    if removed := draw(st.dictionaries(st.sampled_from(["r1", "r2", "r3"]), st.sampled_from([time(7), time(8)]))):
        header["removed"] = together(removed) if draw(st.booleans()) else removed
    if name := draw(st.sampled_from(["", "one", "two"])):
        header["name"] = name
    return version(*entries, **header)


@st.composite
def grown(draw: st.DrawFn) -> list[Version]:
    """Three versions of one session that only grew, each with runs that the others may have too."""
    common = [run(number) for number in range(1, draw(st.integers(0, 3)) + 1)]
    more = [run(number, at=4 + number // 3) for number in range(4, 16)]
    parts = [sorted(draw(st.sets(st.integers(0, len(more) - 1)))) for _ in range(3)]
    return [version(*common, *(more[number] for number in part)) for part in parts]


def runs_known(*sides: Version) -> set[str]:
    """Return the ids of the runs that the merge of some versions has, by the rule for removals."""
    known: dict[str, tuple[str, bool]] = {}
    every = {run_id for side in sides for run_id in ids(side)}
    for side in sides:
        present = set(ids(side))
        removed = Removals(side.header)
        for run_id in every:
            pair = removed.last(run_id), run_id in present
            known[run_id] = max(known.get(run_id, ("", False)), pair)
    return {run_id for run_id, (_, is_there) in known.items() if is_there}


def expect_union(merged: Merged, *sides: Version) -> None:
    """Expect every run of the sides once, apart from removed ones, and every other entry of them."""
    assert len(ids(merged)) == len(set(ids(merged)))
    assert set(ids(merged)) == runs_known(*sides)
    stored = keyed(merged.entries)
    for side in sides:
        assert all(key in stored or key[1] not in runs_known(*sides) for key in keyed(side.entries) if key[0] == "run")
        assert all(key in stored for key in keyed(side.entries) if key[0] != "run")
        for key, entry in keyed(side.entries).items():
            is_kept = key not in stored or json_equal(stored[key], entry)
            assert (
                is_kept
                or any(key[1] in difference.what for difference in merged.differences)
                or (stored[key].get("rating") is not None or entry["status"] == "unfinished")
            )


@given(versions(), versions())
def test_no_run_is_lost_or_doubled(ours: Version, theirs: Version) -> None:
    """A run that is not there was removed on purpose; a form that is not there is reported, or continued."""
    expect_union(merge(ours, theirs), ours, theirs)


@given(versions(), versions())
def test_the_merge_is_commutative(ours: Version, theirs: Version) -> None:
    """The order of equal times aside, both machines get the same session, and report the same differences."""
    one, other = merge(ours, theirs), merge(theirs, ours)

    assert json_equal(one.header, other.header)
    assert runs(one) == runs(other)
    assert json_equal(newest_state(one.entries), newest_state(other.entries))
    assert {difference.what for difference in one.differences} == {difference.what for difference in other.differences}


@given(versions(), versions())
def test_the_merge_is_idempotent(ours: Version, theirs: Version) -> None:
    """A version with itself is that version, and merging a version again changes nothing."""
    assert merge(ours, ours) == Merged(dict(ours.header), list(ours.entries), ())
    merged = as_version(merge(ours, theirs))
    for side in (ours, theirs, merged):
        again = merge(merged, side)
        assert json_equal(again.header, merged.header)
        assert json_equal(again.entries, merged.entries)
    for side in (ours, theirs):
        again = merge(side, merged)
        assert json_equal(again.header, merged.header)
        assert runs(again) == runs(merged)
        assert json_equal(newest_state(again.entries), newest_state(list(merged.entries)))


@given(grown())
def test_the_merge_of_sessions_that_only_grew_is_associative(sides: list[Version]) -> None:
    """Three machines may come together in any order. Only the order of equal times may differ."""
    one, two, three = sides
    first = merge(as_version(merge(one, two)), three)
    last = merge(one, as_version(merge(two, three)))

    assert runs(first) == runs(last)
    assert [entry["created_at"] for entry in first.entries] == [entry["created_at"] for entry in last.entries]
    assert first.header == last.header
    assert first.differences == last.differences == ()


@given(versions(), versions(), versions())
def test_removals_reach_every_version_in_any_order(one: Version, two: Version, three: Version) -> None:
    """The runs that are left, and the removals, do not depend on the order in which versions are merged."""
    first = merge(as_version(merge(one, two)), three)
    last = merge(one, as_version(merge(two, three)))

    assert set(ids(first)) == set(ids(last)) == runs_known(one, two, three)
    assert json_equal(first.header.get("removed"), last.header.get("removed"))


@given(versions(), versions())
def test_a_version_that_did_not_change_adds_nothing(base: Version, changed: Version) -> None:
    """Three-way: the result is the other version, whatever was changed, moved or removed there."""
    for merged in (merge(base, changed, base), merge(changed, base, base)):
        assert json_equal(merged.header, changed.header)
        assert json_equal(merged.entries, list(changed.entries))
        assert merged.differences == ()


@given(versions(), versions(), versions())
def test_what_both_sides_changed_is_reported(base: Version, ours: Version, theirs: Version) -> None:
    """Three-way: a run that is not in the result as one side has it was unchanged there, or is reported."""
    merged = merge(ours, theirs, base)
    stored, before = keyed(merged.entries), keyed(base.entries)
    reported = {difference.what.removeprefix("rating of ") for difference in merged.differences}
    removed = Removals(merged.header)
    for side in (ours, theirs):
        for key, entry in keyed(side.entries).items():
            if json_equal(entry, before.get(key)) or json_equal(entry, stored.get(key)) or key[0] != "run":
                continue
            is_growth = key in stored and (
                entry["status"] == "unfinished" or {**entry, **stored[key]} == stored[key] or "rating" in stored[key]
            )
            assert f"run {key[1]}" in reported or key[1] in removed or is_growth or "rating" in before.get(key, {})


def test_random_histories_are_merged_as_a_model_says() -> None:
    """Two histories come from one, grow, and lose runs on purpose. Nothing is lost, and nothing is there twice."""
    random_source = random.Random(18)
    steps: list[Callable[[Version, int], Version]] = [_with_run, _with_run, _with_run, _without_run, _with_name, _rated]
    for _ in range(rounds(300, 10_000, 100_000)):
        base = version(*(run(number) for number in range(random_source.randrange(4))))
        sides = [base, base]
        for number in range(4, 4 + random_source.randrange(12)):
            side = random_source.randrange(2)
            sides[side] = random_source.choice(steps)(sides[side], number)
        for known in (None, base):
            merged = merge(sides[0], sides[1], known)
            assert len(ids(merged)) == len(set(ids(merged)))
            assert set(ids(merged)) == runs_known(*sides)
            assert ids(merged) == sorted(ids(merged), key=lambda name: int(name[1:]))
            removed = {key for side in sides for key in side.header.get("removed", {})}
            assert set(merged.header.get("removed", {})) == removed
            rated = {entry["run_id"] for side in sides for entry in side.entries if "rating" in entry} - removed
            assert {entry["run_id"] for entry in merged.entries if "rating" in entry} == rated


def _with_run(side: Version, number: int) -> Version:
    return Version(side.header, [*side.entries, run(number)])


def _without_run(side: Version, number: int) -> Version:
    if not side.entries:
        return side
    gone = side.entries[number % len(side.entries)]
    removed = {**side.header.get("removed", {}), gone["run_id"]: time(number)}
    return Version({**side.header, "removed": removed}, [entry for entry in side.entries if entry is not gone])


def _with_name(side: Version, number: int) -> Version:
    return Version({**side.header, "name": f"name {number}"}, side.entries)


def _rated(side: Version, number: int) -> Version:
    if not side.entries:
        return side
    place = number % len(side.entries)
    rated = {**side.entries[place], "rating": "good" if number % 2 else "bad"}
    return Version(side.header, [*side.entries[:place], rated, *side.entries[place + 1 :]])


@pytest.mark.parametrize("name", ["removed", "metadata"])
def test_a_header_field_of_another_type_is_no_obstacle(name: str) -> None:
    """A version may come from an editor, or from another program."""
    odd, plain = version(run(1), **{name: {"r1": 5}}), version(run(1), **{name: {}})

    assert merge(odd, plain).header[name] == {"r1": 5}
