"""`localstore ls`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage, Message, Metrics, Run
from tests.effort import ci_only, sampled

from .conftest import Command

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
HOSTILE = "a\tb\nc\x1b[31md\r\x00\x9b\x7f\u202ee"
ESCAPED = "a\\tb\\nc\\x1b[31md\\r\\x00\\x9b\\x7f\\u202ee"


def add(store: Path, session_id: str, *, user_id: str | None = None, entity_id: str | None = None) -> None:
    storage = JsonStorage(store, durability="relaxed")
    storage.append(session_id, Run(messages=[Message(role="user", content="hi")]), user_id=user_id, entity_id=entity_id)


def test_a_row_holds_id_name_kind_entity_user_runs_time_and_problem(run: Command, store: Path) -> None:
    """A pipe gets one line per session, newest activity first, without a heading."""
    done = run("ls", "--store", store)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split("\t") for line in done.stdout.splitlines()] == [
        ["vienna-trip", "Trip to Vienna", "agent", "guide", "alice", "12", "2026-01-03T10:00:12.000Z", ""],
        ["linz-1", "", "team", "", "bob", "1", "2026-01-02T10:00:00.000Z", ""],
        ["graz-1", "", "agent", "guide", "alice", "1", "2026-01-01T10:00:00.000Z", ""],
    ]


@pytest.mark.parametrize(
    ("args", "ids"),
    [
        (("--user", "alice"), ["vienna-trip", "graz-1"]),
        (("--entity", "guide"), ["vienna-trip", "graz-1"]),
        (("--kind", "team"), ["linz-1"]),
        (("--user", "alice", "--limit", "1"), ["vienna-trip"]),
        (("--limit", "2"), ["vienna-trip", "linz-1"]),
        (("--all",), ["vienna-trip", "linz-1", "graz-1"]),
    ],
)
def test_filters_and_limit_choose_rows(invoke: Invoke, store: Path, args: tuple[str, ...], ids: list[str]) -> None:
    """The filters of `list_sessions` are available as options."""
    done = invoke("ls", "--store", store, *args)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ids


def test_json_has_all_fields(invoke: Invoke, store: Path) -> None:
    """`--json` is an array with the fields of SessionInfo."""
    rows = json.loads(invoke("ls", "--store", store, "--json").stdout)
    assert [row["session_id"] for row in rows] == ["vienna-trip", "linz-1", "graz-1"]
    assert rows[0] == JsonStorage(store).list_sessions()[0].as_dict()


def test_an_empty_store_says_so_on_stderr(run: Command, tmp_path: Path) -> None:
    """An empty list is no error and has no output."""
    JsonStorage(tmp_path / "empty")
    done = run("ls", "--store", tmp_path / "empty")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"localstore: No sessions in the store {tmp_path.resolve() / 'empty'} yet.\n"
    assert json.loads(run("ls", "--json", "--store", tmp_path / "empty").stdout) == []


def test_filters_without_a_match_say_so(run: Command, store: Path) -> None:
    """The note says that no session matches the filters."""
    done = run("ls", "--store", store, "--user", "nobody")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "localstore: No sessions match. 'localstore ls' lists all sessions.\n"


def test_hostile_texts_stay_in_their_row(run: Command, store: Path) -> None:
    """Control characters are escaped, so that a row is one line and no terminal interprets them."""
    add(store, HOSTILE, user_id=HOSTILE, entity_id=HOSTILE)
    JsonStorage(store).update(HOSTILE, name=HOSTILE)
    row = run("ls", "--store", store).stdout.splitlines()[0].split("\t")
    assert row[:6] == [ESCAPED, ESCAPED, "agent", ESCAPED, ESCAPED, "1"]
    as_json = run("ls", "--json", "--store", store).stdout
    assert json.loads(as_json)[0]["session_id"] == HOSTILE
    assert not set("\x1b\x9b\x7f\u202e") & set(as_json)


@pytest.mark.parametrize(
    "text", ["😀 emoji 👩‍👩‍👧", "שלום עולם", "日本語", "[bold]markup[/bold] :smile:", "-dash", "a" * 5000]
)
def test_unusual_texts_are_printed_unchanged(run: Command, store: Path, text: str) -> None:
    """All characters but control characters are printed."""
    add(store, text)
    assert run("ls", "--store", store).stdout.startswith(f"{text}\t")


def test_a_broken_document_has_its_problem_in_its_row(run: Command, store: Path) -> None:
    """The other sessions are listed, and the row says what is wrong."""
    path = JsonStorage(store).path("graz-1")
    path.write_text(path.read_text().replace('"messages": [', '"messages": [[', 1))
    rows = {row[0]: row for row in (line.split("\t") for line in run("ls", "--store", store).stdout.splitlines())}
    assert set(rows) == {"vienna-trip", "linz-1", "graz-1"}
    assert str(path) in rows["graz-1"][7]
    assert rows["linz-1"][7] == ""


@ci_only
@posix
def test_a_terminal_shows_the_newest_fifty(store: Path) -> None:
    """A long list says that there are more, without listing them; `--all` and `--limit` show them."""
    from .pseudo_terminal import on_terminal

    for number in range(60):
        add(store, f"s-{number}")
    screen = on_terminal("ls", cwd=store)
    assert screen.code == 0
    assert sum("  s-" in line for line in screen.lines) == 50
    assert screen.lines[-1] == "… and more. --all lists them."
    everything = on_terminal("ls", "--all", cwd=store)
    assert len(everything.lines) == 1 + 63
    assert "more" not in everything.text
    assert sum("  s-" in line for line in on_terminal("ls", "--limit", "55", cwd=store).lines) == 55


@posix
@pytest.mark.parametrize(
    ("columns", "headings"),
    sampled(
        [
            (20, ["title"]),
            (40, ["title", "id"]),
            (80, ["title", "id", "updated", "runs"]),
            (140, ["title", "id", "updated", "runs", "user", "entity", "kind"]),
        ],
        2,
    ),
)
def test_every_row_fits_on_a_line_of_the_terminal(store: Path, columns: int, headings: list[str]) -> None:
    """A narrow terminal drops columns, the title last, and the table keeps its shape. No emoji is cut in half."""
    from rich.cells import cell_len

    from .pseudo_terminal import on_terminal

    family = "👩\u200d👩\u200d👧"
    add(store, "日本語" * 40, user_id="😀" * 40, entity_id="e" * 300)
    add(store, HOSTILE, user_id=HOSTILE)
    storage = JsonStorage(store)
    storage.update("graz-1", name=family * 60)
    storage.update(HOSTILE, name=HOSTILE)
    storage.update("linz-1", name="日本語" * 40)
    screen = on_terminal("ls", cwd=store, columns=columns)
    assert len(screen.lines) == 6
    assert all(cell_len(line) <= columns for line in screen.lines)
    assert screen.lines[0].split() == headings
    assert {line.strip()[:4] for line in screen.lines[3:]} == {"Trip", "日本語日", family[:4]}
    cut = screen.lines[-1].split()[0]
    assert cut == family * (len(cut) // len(family)) + "…"
    assert not set("\x9b\x7f\u202e") & set(screen.text)
    assert "\x1b" not in screen.text


@posix
def test_a_terminal_shows_titles_and_marks_what_did_not_complete(store: Path) -> None:
    """The title is the name, else the first question. A long id is as short as `show` takes it, and columns that would
    say the same in all rows are left out."""
    from .pseudo_terminal import on_terminal

    storage = JsonStorage(store)
    storage.append("linz-1", Run(status="error", error="offline", created_at="2026-01-02T11:00:00Z"))
    storage.append("graz-1", Run(status="unfinished", created_at="2026-01-01T11:00:00Z"))
    storage.append("3f2a91bc-0000", Run(status="cancelled", created_at="2025-01-01T11:00:00Z"), user_id="bob")
    storage.update("graz-1", tags=["travel", "work"])
    header, *lines = on_terminal("ls", cwd=store, columns=120).lines
    assert header.split() == ["title", "id", "updated", "runs", "user", "entity", "kind", "tags"]
    assert [line.split() for line in lines] == [
        ["Trip", "to", "Vienna", "vienna-trip", "2026-01-03", "12", "alice", "guide", "agent"],
        ["✗", "Linz?", "linz-1", "2026-01-02", "2", "bob", "team"],
        ["…", "Graz?", "graz-1", "2026-01-01", "2", "alice", "guide", "agent", "travel,", "work"],
        ["■", "-", "3f2a91bc", "2025-01-01", "1", "bob", "agent"],
    ]
    assert on_terminal("ls", "--user", "alice", "--sort", "created", cwd=store).lines[0].split() == [
        *("title", "id", "created", "runs", "tags")
    ]
    very_narrow = on_terminal("ls", cwd=store, columns=12).lines  # it had nothing but the marks
    assert [line.rstrip() for line in very_narrow] == ["title", "Trip to Vie…", "Linz?", "Graz?", "-"]


@posix
def test_long_ids_that_begin_alike_look_different_and_can_be_copied(invoke: Invoke, store: Path) -> None:
    """Their ends were cut off, so that two of them looked the same and no command took what was shown."""
    from .pseudo_terminal import on_terminal

    ids = [f"notes-that-somebody-took-on-the-train-to-vienna-number-{number}-of-2" for number in ("one", "two")]
    for session_id in ids:
        add(store, session_id)
    shown = [line.split()[-4] for line in on_terminal("ls", "--limit", "2", cwd=store, columns=60).lines[1:]]
    assert shown == ["notes-that-somebod…to-vienna-number-t", "notes-that-somebod…to-vienna-number-o"]
    assert [Path(invoke("path", text, "--store", store).stdout.strip()).stem for text in shown] == ids[::-1]
    done = invoke("path", "notes…number-", "--store", store)
    assert (done.exit_code, done.stderr.splitlines()[0]) == (
        *(3, "localstore: 2 sessions match 'notes…number-'. Give the whole id of one:"),
    )


@pytest.mark.parametrize(
    ("sort", "ids"),
    [
        ("updated", ["vienna-trip", "linz-1", "graz-1"]),
        ("created", ["graz-1", "vienna-trip", "linz-1"]),
        ("runs", ["vienna-trip", "linz-1", "graz-1"]),
        ("tokens", ["linz-1", "vienna-trip", "graz-1"]),
        ("size", ["vienna-trip", "graz-1", "linz-1"]),
        ("name", ["graz-1", "linz-1", "vienna-trip"]),
    ],
)
def test_sessions_are_sorted(invoke: Invoke, store: Path, sort: str, ids: list[str]) -> None:
    """The newest or largest come first, and titles from A to Z."""
    metrics = Metrics(input_tokens=5, output_tokens=9)
    storage = JsonStorage(store)
    storage.append("linz-1", Run(metrics=metrics, created_at="2026-01-02T11:00:00Z"))
    path = storage.path("graz-1")
    path.write_text(re.sub('"created_at": "[^"]*"', '"created_at": "2027-01-01T00:00:00Z"', path.read_text(), count=1))
    for limit in (3, 1):
        done = invoke("ls", "--store", store, "--sort", sort, "--limit", str(limit))
        assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ids[:limit]
    assert invoke("ls", "--store", store, "--sort", "colour").exit_code == 2


@posix
def test_a_terminal_shows_relative_times(store: Path) -> None:
    """A new session was updated just now."""
    from .pseudo_terminal import on_terminal

    add(store, "fresh")
    lines = on_terminal("ls", cwd=store).lines
    assert "just now" in lines[1]
    assert "2026-01-03" in lines[2]


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (timedelta(seconds=5), "just now"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(hours=3), "12:00"),
        (timedelta(hours=20), "yesterday"),
        (timedelta(days=2), "2 days ago"),
        (timedelta(days=6), "6 days ago"),
        (timedelta(days=7), "2026-11-15"),
        (timedelta(days=40), "2026-10-13"),
        (timedelta(hours=-2), "17:00"),
        (timedelta(days=-2), "2026-11-24"),
    ],
)
def test_a_time_is_shown_relative_to_now(age: timedelta, said: str) -> None:
    """A time of today has no date, and one in the future is not 'ago'."""
    from importlib import import_module

    today = datetime(2026, 11, 22, 15, 0).astimezone()
    assert import_module("localstore_cli.local_times").when((today - age).isoformat(), today) == said


@pytest.mark.parametrize("text", ["", "soon", "9999-99-99", "0001-01-01T00:00:00+14:00"])
def test_an_invalid_time_is_shown_unchanged(text: str) -> None:
    """A wrong time that a person typed does not break the listing."""
    from importlib import import_module

    assert import_module("localstore_cli.local_times").when(text) == text


@posix
def test_a_problem_is_printed_below_the_table(store: Path) -> None:
    """A long problem does not squeeze the columns."""
    from .pseudo_terminal import on_terminal

    path = JsonStorage(store).path("graz-1")
    path.write_text(path.read_text().replace('"messages": [', '"messages": [[', 1))
    screen = on_terminal("ls", cwd=store, columns=40)
    assert screen.code == 0
    assert "graz-1: " in screen.text.replace("\n", " ")
    assert "Fix the file" in screen.text.replace("\n", " ")


@posix
def test_an_empty_store_says_so_on_a_terminal(tmp_path: Path) -> None:
    """A new user sees how to add the first session."""
    from .pseudo_terminal import on_terminal

    JsonStorage(tmp_path)
    said = "".join(on_terminal("ls", cwd=tmp_path).lines)
    assert said.startswith("localstore: No sessions in the store ")


def test_a_file_without_a_session_is_mentioned(run: Command, store: Path) -> None:
    (next((store / "sessions").iterdir()) / "odd.json").write_text("{")
    done = run("ls", "--store", store)
    assert done.returncode == 0
    assert "odd" not in done.stdout
    assert done.stderr == "localstore: 1 file cannot be read as a session. 'localstore check' says why.\n"


IGNORED = {
    "notes.json": "is not in a month folder, so it is not read. Move it to a folder such as sessions/2026-11.",
    "sessions/notes.json": "is not in a month folder, so it is not read. Move it to a folder such as sessions/2026-11.",
    "sessions/2026-01/notes.yml": "is not read, because of its ending. Rename it to end in .json or .yaml.",
    "sessions/2026-01/work.JSON": "is not read, because of its ending. Rename it to end in .json or .yaml.",
    "sessions/2026-01/deeper/a.yaml": "is not in a month folder, so it is not read. Move it to a folder such as "
    "sessions/2026-11.",
}


@pytest.mark.parametrize("place", IGNORED)
def test_a_document_that_is_not_read_is_named(run: Command, store: Path, place: str) -> None:
    """`ls` ignored a document in the wrong folder or with another ending without a word: the session seemed lost."""
    path = store / place
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(JsonStorage(store).path("graz-1").read_bytes())
    path.chmod(0o600)
    done = run("ls", "--store", store)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == f"localstore: {path} {IGNORED[place]}\n"
    findings = json.loads(run("check", "--json", "--store", store).stdout)
    assert [(found["path"], f"{found['problem']}. {found['advice']}") for found in findings] == [
        (str(path), IGNORED[place])
    ]


def test_many_documents_that_are_not_read_take_one_line(run: Command, store: Path) -> None:
    """The first three are named. Files of other programs at the top of the store are not."""
    for number in range(5):
        (store / "sessions" / f"{number}.json").write_text("{}")
    (store / "package.json").write_text('{"name": "my-project"}')
    done = run("ls", "--store", store)
    first = ", ".join(f"{number}.json" for number in range(3))
    advice = "'localstore check' says why and what to do."
    assert done.stderr == f"localstore: 5 files are not read: {first} and 2 more. {advice}\n"


def test_a_broken_document_is_listed_after_the_manifest_was_deleted(run: Command, store: Path) -> None:
    document = JsonStorage(store).path(JsonStorage(store).get_all_session_ids()[0])
    document.write_text(document.read_text()[:-4] + "?")
    (store / ".localstore/manifest.jsonl").unlink()
    first, second = run("ls", "--store", store), run("ls", "--store", store)
    assert len(first.stdout.splitlines()) == len(second.stdout.splitlines()) == len(list(store.glob("sessions/*/*")))


def test_a_second_document_of_a_session_is_named(run: Command, store: Path) -> None:
    """It was ignored without a word, also if it had runs that the other document lacks."""
    (path,) = store.rglob("graz-1.json")
    copy = path.with_name("copy.json")
    copy.write_bytes(path.read_bytes())
    done = run("ls", "--store", store)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert f"{copy} is a copy of session 'graz-1', and is not read." in done.stderr
