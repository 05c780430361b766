"""`localstore edit`: a document in an editor, and what happens to the text and to what others write meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage
from localstore.maintenance.rescue import rescued
from tests import oracle

from .test_check import document, state_of
from .test_rescue import run_ids
from .test_state import Editor, editor, kept, only

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")
__all__ = ["editor", "kept"]


@pytest.mark.parametrize("session_id", ["graz-1", "linz-1"])
def test_the_text_is_stored_as_it_was_typed(
    invoke: Invoke, store: Path, editor: Editor, kept: Path, session_id: str
) -> None:
    """In both formats, and nothing else changes. The output says what did."""
    raw = document(store, session_id).read_bytes()
    editor("path.write_bytes(path.read_bytes().replace(b'Rain.', b'Sun.').replace(b'Fog.', b'Sun.'))")
    done = invoke("edit", session_id, "--store", store)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"localstore: {session_id} was stored: run 1 was changed.\n"
    assert document(store, session_id).read_bytes() == raw.replace(b"Rain.", b"Sun.").replace(b"Fog.", b"Sun.")
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize("args", [(), ("--run", "1")])
def test_a_text_that_does_not_change_writes_nothing(
    invoke: Invoke, store: Path, editor: Editor, kept: Path, args: tuple[str, ...]
) -> None:
    before = state_of(store)
    editor("path.write_text(text)")
    done = invoke("edit", "graz-1", *args, "--store", store)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "localstore: Nothing was changed.\n")
    editor("sys.exit(3)")
    failed = invoke("edit", "graz-1", *args, "--store", store)
    assert (failed.exit_code, failed.stderr.count("\n")) == (4, 1)
    assert "ended with code 3. Nothing was stored." in failed.stderr
    assert state_of(store) == before
    assert list(kept.iterdir()) == []


def test_an_editor_that_fails_after_a_change_stores_nothing(
    invoke: Invoke, store: Path, editor: Editor, kept: Path
) -> None:
    before = state_of(store)
    editor("path.write_text('half'); sys.exit(1)")
    done = invoke("edit", "graz-1", "--store", store)
    assert done.exit_code == 4
    assert f"Your text is kept in {only(kept)}" in done.stderr
    assert state_of(store) == before


@pytest.mark.parametrize("session_id", ["vienna-trip", "linz-1"])
def test_one_run(invoke: Invoke, store: Path, editor: Editor, session_id: str) -> None:
    """The editor shows this run alone. A newline that it adds at the end is not stored."""
    raw = document(store, session_id).read_bytes()
    editor(
        "assert text.count('run_id') == 1\n"
        "path.write_text(text.rstrip('\\n').replace('answer 12', 'done').replace('Fog.', 'Sun.') + '\\n')"
    )
    done = invoke("edit", session_id, "--run", "-1", "--store", store)
    assert done.exit_code == 0, done.stderr
    changed = raw.replace(b"answer 12", b"done").replace(b"Fog.", b"Sun.")
    assert document(store, session_id).read_bytes() == changed
    assert f"run {12 if session_id == 'vienna-trip' else 1} was changed" in done.stderr


def test_a_run_is_taken_out_and_restored(invoke: Invoke, store: Path) -> None:
    before = run_ids(store, "vienna-trip")
    done = invoke("edit", "vienna-trip", "--drop-run", "2", "--store", store)
    assert done.exit_code == 0
    assert done.stderr.startswith("localstore: Run 2 of vienna-trip was taken out.")
    assert run_ids(store, "vienna-trip") == [*before[:1], *before[2:]]
    way_back = done.stderr.rpartition("localstore rescue ")[2].split()
    assert invoke("rescue", *way_back, "--store", store).exit_code == 0
    assert sorted(run_ids(store, "vienna-trip")) == sorted(before)


def test_what_an_agent_writes_meanwhile_stays(invoke: Invoke, store: Path, editor: Editor) -> None:
    editor(
        "from localstore import JsonStorage, Run\n"
        f"JsonStorage({str(store)!r}).append('graz-1', Run(run_id='new'))\n"
        "path.write_text(text.replace('Rain.', 'Sun.'))"
    )
    done = invoke("edit", "graz-1", "--store", store)
    assert done.exit_code == 0
    assert "Meanwhile, others wrote to it as well: run 2 was added." in done.stderr
    assert run_ids(store)[-1] == "new"
    assert b"Sun." in document(store).read_bytes()


def test_a_run_that_both_changed_is_kept_in_rescue(invoke: Invoke, store: Path, editor: Editor) -> None:
    """The exit code is 1, and the file is named."""
    editor(
        "from localstore import JsonStorage\n"
        f"storage = JsonStorage({str(store)!r})\n"
        "storage.rate('graz-1', storage.read('graz-1').runs[0].run_id, 'good')\n"
        "session = storage.read('graz-1')\n"
        "session.runs[0].output = 'by others'\n"
        "storage.upsert(session)\n"
        "path.write_text(text.replace('Rain.', 'Sun.'))"
    )
    done = invoke("edit", "graz-1", "--store", store)
    assert done.exit_code == 1
    (one,) = rescued(store)
    assert f"localstore rescue {one.name}" in done.stderr
    assert "Sun." in invoke("rescue", one.name, "--store", store).stdout
    assert b"Rain." in document(store).read_bytes()
    assert '"good"' in document(store).read_text()


WRONG = {
    "cut off": "path.write_text(text[:-9])",
    "empty": "path.write_text('')",
    "another id": "path.write_text(text.replace('graz-1', 'graz-2', 1))",
    "a wrong type": "path.write_text(text.replace('\"Rain.\"', '5'))",
}


@pytest.mark.parametrize("code", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("args", [(), ("--run", "1")])
def test_without_a_terminal_a_wrong_text_is_kept_in_a_file(
    invoke: Invoke, store: Path, editor: Editor, kept: Path, code: str, args: tuple[str, ...]
) -> None:
    """The error has the line in that file."""
    if args and "graz-2" in code:
        pytest.skip("a run has no session_id")
    before = state_of(store)
    editor(code)
    done = invoke("edit", "graz-1", *args, "--store", store)
    assert (done.exit_code, done.stdout) == (4, "")
    assert f"Your text is kept in {only(kept)}\n" in done.stderr
    if f"{only(kept)}: is empty" not in done.stderr:
        assert f"{only(kept)}, line " in done.stderr
        line = int(done.stderr.partition(", line ")[2].partition(":")[0].partition(",")[0])
        assert 1 <= line <= max(1, len(only(kept).read_text().splitlines()) + 1)
    assert state_of(store) == before


@posix
def test_a_person_corrects_the_text_at_the_line_of_the_error(
    store: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor named vim gets the line. The second text is stored."""
    import sys

    from .pseudo_terminal import on_terminal

    vim = tmp_path / "vim"
    vim.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\npath = pathlib.Path(sys.argv[-1])\ntext = path.read_text()\n"
        f"log = pathlib.Path({str(tmp_path / 'log')!r})\n"
        "path.write_text(text.replace('Rain.\"', 'Sun.') if not log.exists() else text.replace('Sun.', 'Sun.\"'))\n"
        "log.write_text(' '.join(sys.argv[1:-1]))\n"
    )
    vim.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(vim))
    monkeypatch.delenv("VISUAL", raising=False)
    line = document(store).read_text().partition("Rain.")[0].count("\n") + 1
    screen = on_terminal("edit", "graz-1", cwd=store, columns=200, typed=b"e\n")
    assert screen.code == 0
    assert f"line {line}" in screen.text
    assert (tmp_path / "log").read_text() == f"+{line}"
    assert b"Sun." in document(store).read_bytes()
    assert list(kept.iterdir()) == []


def test_a_broken_document_is_repaired(invoke: Invoke, store: Path, editor: Editor) -> None:
    """Its error is printed before the editor opens."""
    JsonStorage(store).list_sessions()
    path = document(store)
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"messages": [', b'"messages": [['))
    editor("path.write_text(text.replace('[[', '['))")
    done = invoke("edit", "graz-1", "--store", store)
    assert done.exit_code == 0, done.stderr
    assert f"{path}, line " in done.stderr
    assert "graz-1 was stored: it can be read again." in done.stderr
    assert path.read_bytes() == good


def test_a_file_of_an_unknown_session_is_repaired_by_its_path(
    invoke: Invoke, store: Path, editor: Editor, kept: Path
) -> None:
    """Nobody knew the id of the session in it, so nothing could name it. What others write meanwhile stays."""
    good = document(store).read_bytes()
    path = document(store).with_name("lost.json")
    path.write_bytes(good.replace(b'"session_id": "graz-1"', b'"session_id: "new"'))
    mended = "path.write_text(text.replace('session_id: ', 'session_id\": '){})"
    for change, said in (
        ("path.write_text('{')", "Nothing was stored. Correct it and try again."),
        (mended.format(".replace('\"new\"', '\"graz-1\"')"), "is that of another document"),
        (f"open({str(path)!r}, 'a').write('x'); {mended.format('')}", "was changed meanwhile"),
    ):
        editor(change)
        done = invoke("edit", path, "--store", store)
        assert (done.exit_code, done.stdout) == (4, "")
        assert said in done.stderr
        assert "Your text is kept in" in done.stderr
    path.write_bytes(path.read_bytes().removesuffix(b"x"))
    editor(mended.format(""))
    done = invoke("edit", path, "--store", store)
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    assert f"{path}, line " in done.stderr
    assert done.stderr.endswith("localstore: new was stored: it can be read again.\n")
    assert JsonStorage(store).path("new") == path
    assert invoke("edit", path, "--run", "9", "--store", store).exit_code == 3


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("graz-1", "--run", "1", "--drop-run", "1"), 2),
        (("graz-1", "--run", "7"), 3),
        (("graz-1", "--drop-run", "7"), 3),
        (("graz-1", "--run", ""), 2),
        (("nobody",), 3),
        ((), 2),
    ],
)
def test_wrong_usage(invoke: Invoke, store: Path, editor: Editor, args: tuple[str, ...], code: int) -> None:
    before = state_of(store)
    editor("path.write_text('x')")
    done = invoke("edit", *args, "--store", store)
    assert (done.exit_code, done.stdout) == (code, "")
    assert state_of(store) == before


def test_an_older_document_and_a_missing_editor(
    invoke: Invoke, store: Path, monkeypatch: pytest.MonkeyPatch, editor: Editor
) -> None:
    """Both are said before anything is typed."""
    editor("pathlib.Path('opened').touch()")
    path = document(store)
    path.write_bytes(path.read_bytes().replace(b'"schema_version": 1', b'"schema_version": 2'))
    newer = invoke("edit", "graz-1", "--store", store)
    assert newer.exit_code == 4
    assert "Update localstore" in newer.stderr
    assert not Path("opened").exists()
    monkeypatch.delenv("EDITOR")
    none = invoke("edit", "linz-1", "--store", store)
    assert (none.exit_code, none.stdout) == (2, "")
    assert "set VISUAL or EDITOR" in none.stderr
    assert set(oracle.sessions(store)) >= {"linz-1"}
