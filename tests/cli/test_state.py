"""`localstore state`: print, replace and edit the state without losing typed text or other changes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from localstore import JsonStorage
from localstore.disk import filesystem
from localstore.format.yaml_reader import load
from tests.effort import sampled

from .conftest import ENTRY_POINT, Command, clean_environment
from .forked_command import run_forked
from .read_only import ReadOnlySystem
from .test_check import document, edit, state_of

Invoke = Callable[..., Result]
Editor = Callable[..., str]
posix = pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")
STATE: dict[str, Any] = {"cart": [1, 2.5, {"ü": None}], "note": "two\nlines", "no": "yes"}


@pytest.fixture
def store(store: Path) -> Path:
    """Return the usual store, with state in two of its sessions."""
    for session_id in ("graz-1", "linz-1"):
        JsonStorage(store).update(session_id, session_state=STATE)
    return store


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for temporary files, where a text that could not be stored is kept."""
    import tempfile

    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    """Return a function that sets EDITOR to Python statements, which can use the `path` and `text` of the file."""
    monkeypatch.delenv("VISUAL", raising=False)

    def make(code: str) -> str:
        script = tmp_path / "editor with a space.py"
        first = "import os, pathlib, sys, time\npath = pathlib.Path(sys.argv[-1])\ntext = path.read_text('utf-8')\n"
        script.write_text(first + code)
        command = f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}"
        monkeypatch.setenv("EDITOR", command)
        return command

    return make


def state(store: Path, session_id: str = "graz-1") -> Any:
    session = JsonStorage(store).read(session_id)
    assert session is not None
    return session.session_state


def only(folder: Path) -> Path:
    """Return the only file that was kept."""
    (path,) = folder.iterdir()
    return path


# Printing


@pytest.mark.parametrize("session_id", ["graz-1", "linz-1"])
def test_the_state_is_printed_as_json_for_both_formats(invoke: Invoke, store: Path, session_id: str) -> None:
    """`--yaml` prints YAML. Nothing is written."""
    before = state_of(store)
    done = invoke("state", session_id, "--store", store)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == json.dumps(STATE, indent=2, ensure_ascii=False) + "\n"
    assert invoke("state", session_id, "--json", "--store", store).stdout == done.stdout
    as_yaml = invoke("state", session_id, "--yaml", "--store", store).stdout
    assert load(as_yaml.encode()) == STATE
    assert "note: |-\n" in as_yaml
    assert state_of(store) == before


@pytest.mark.parametrize("args", [(), ("--yaml",)])
def test_a_session_without_state(invoke: Invoke, store: Path, args: tuple[str, ...]) -> None:
    """A session without state has an empty mapping."""
    assert invoke("state", "vienna-trip", *args, "--store", store).stdout == "{}\n"


@pytest.mark.parametrize("args", [(), ("--yaml",)])
def test_control_characters_are_escaped_and_every_value_is_kept(
    invoke: Invoke, store: Path, args: tuple[str, ...]
) -> None:
    """A state with characters that YAML prints unescaped is printed as JSON, which is valid YAML."""
    odd = {"a\x1b": "b\x9b\u202e\u2028", "tab\t": "\t", "plain": "ü"}
    JsonStorage(store).update("graz-1", session_state=odd)
    text = invoke("state", "graz-1", *args, "--store", store).stdout
    assert not set("\x1b\x9b\u202e\u2028\t") & set(text)
    assert load(text.encode()) == json.loads(text) == odd


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((), 2),
        (("graz-1", "--yaml", "--json"), 2),
        (("graz-1", "--edit", "--set", "-"), 2),
        (("graz-1", "--set", "/nowhere/x"), 2),
        (("nobody",), 3),
        (("",), 2),
    ],
)
def test_wrong_usage_and_missing_sessions(invoke: Invoke, store: Path, args: tuple[str, ...], code: int) -> None:
    before = state_of(store)
    done = invoke("state", *args, "--store", store)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert state_of(store) == before


@pytest.mark.parametrize("args", [(), ("--set", "-"), ("--edit",)])
def test_a_document_that_cannot_be_read(invoke: Invoke, store: Path, args: tuple[str, ...], editor: Editor) -> None:
    """A broken or newer document does not change."""
    editor("path.write_text('{}')")
    path = document(store)
    whole = path.read_bytes()
    for old, new in (('"messages": [', '"messages": [['), ('"schema_version": 1', '"schema_version": 2')):
        edit(path, old, new)
        changed = path.read_bytes()
        done = invoke("state", "graz-1", *args, "--store", store)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (4, "", 1)
        assert str(path) in done.stderr
        assert path.read_bytes() == changed
        path.write_bytes(whole)


# Replacing


@pytest.mark.parametrize(
    ("text", "args"), [('{"n": [1]}', ()), ("n:\n- 1\n", ("--yaml",)), ('{"n": [1]}', ("--yaml",))]
)
@pytest.mark.parametrize("session_id", sampled(["graz-1", "linz-1"], 2))
def test_the_state_is_replaced(run: Command, store: Path, text: str, args: tuple[str, ...], session_id: str) -> None:
    """The new state comes from a file or the standard input. An equal state writes nothing."""
    file = store.parent / "new state"
    file.write_text(text)
    done = run("state", session_id, "--set", file, *args, "--store", store)
    said = f"localstore: The session_state of {session_id} was stored.\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", said)
    assert state(store, session_id) == {"n": [1]}
    before = state_of(store)
    words = ["state", session_id, "--set", "-", *args, "--store", str(store)]
    again = run_forked(words, store.parent, clean_environment(), text)
    assert (again.returncode, again.stderr) == (0, "localstore: Nothing was changed.\n")
    assert state_of(store) == before


def test_printed_state_can_be_stored_again(run: Command, store: Path) -> None:
    """It works as JSON and as YAML."""
    for args in ((), ("--yaml",)):
        file = store.parent / "printed"
        file.write_text(run("state", "graz-1", *args, "--store", store).stdout)
        JsonStorage(store).update("graz-1", session_state={})
        assert run("state", "graz-1", "--set", file, *args, "--store", store).returncode == 0
        assert state(store) == STATE


WRONG = [
    ('{\n  "a": 1,\n}', "line 2"),
    ("", "line 1"),
    ("[1]", "line 1: expected a mapping"),
    ('{"a": NaN}', "line 1"),
    ('{"a": 1, "a": 2}', "the key 'a' appears twice"),
    ('{"a": 123456789012345678901234567890}', "beyond 64 bits"),
    ('{"a":\n 3.14159265358979323846}', "line 2, column 2: 3.14159265358979323846 has more digits"),
    ('{"a": "\\ud800"}', "line 1"),
    ("[" * 100_000, "line 1"),
    ('{"a": ' + "[" * 300 + "]" * 300 + "}", ""),
    ("\xff", "not UTF-8"),
]


@pytest.mark.parametrize(("text", "problem"), WRONG, ids=range(len(WRONG)))
def test_state_that_cannot_be_stored_is_refused_with_its_line(
    invoke: Invoke, store: Path, tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "wrong.json"
    file.write_bytes(text.encode("latin-1"))
    before = state_of(store)
    done = invoke("state", "graz-1", "--set", file, "--store", store)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert problem in done.stderr
    assert state_of(store) == before


def test_yaml_that_cannot_be_stored_is_refused_with_its_line(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    for text in ("a: 1\nb: [\n", "a: 1\na: 2\n", "- 1\n", "a: &x 1\nb: *x\n"):
        file.write_text(text)
        done = invoke("state", "graz-1", "--yaml", "--set", file, "--store", store)
        assert (done.exit_code, done.stdout) == (4, "")
        assert f"{file}, line " in done.stderr
    assert state(store) == STATE


@posix
def test_a_closed_standard_input(store: Path) -> None:
    """A closed standard input is wrong usage."""
    line = f'"{ENTRY_POINT}" state graz-1 --set - --store "{store}" <&-'
    done = subprocess.run(line, shell=True, capture_output=True, env=clean_environment(), check=False)  # noqa: S602
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"The standard input is closed" in done.stderr


# Editing


@pytest.mark.parametrize("args", [(), ("--yaml",)])
@pytest.mark.parametrize("session_id", ["graz-1", "linz-1"])
def test_the_state_is_edited(
    invoke: Invoke, store: Path, editor: Editor, kept: Path, args: tuple[str, ...], session_id: str
) -> None:
    """The name of the edited file says what it contains, and the file is removed afterwards."""
    log = store.parent / "log"
    editor(f"pathlib.Path({str(log)!r}).write_text(path.name + oct(path.stat().st_mode))\n"
           "path.write_text(text.replace('two', 'three'))")  # fmt: skip
    done = invoke("state", session_id, "--edit", *args, "--store", store)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"localstore: The session_state of {session_id} was stored.\n"
    assert state(store, session_id) == STATE | {"note": "three\nlines"}
    assert re.fullmatch(rf"state-of-{session_id}-\w+\.{'yaml' if args else 'json'}0o100600", log.read_text())
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize("code", ["", "path.write_text(text)", "path.write_text(text + '\\n')"])
def test_an_unchanged_state_is_not_written(invoke: Invoke, store: Path, editor: Editor, kept: Path, code: str) -> None:
    """A change of white space alone is not written either."""
    editor(code)
    before = state_of(store)
    done = invoke("state", "graz-1", "--edit", "--store", store)
    assert (done.exit_code, done.stderr) == (0, "localstore: Nothing was changed.\n")
    assert state_of(store) == before
    assert list(kept.iterdir()) == []


def test_an_editor_that_replaces_the_file(invoke: Invoke, store: Path, editor: Editor, kept: Path) -> None:
    """Some editors, such as vim, write a new file in place of the old one."""
    editor("other = path.with_name('other')\nother.write_text('{\"n\": 1}')\nos.replace(other, path)")
    assert invoke("state", "graz-1", "--edit", "--store", store).exit_code == 0
    assert state(store) == {"n": 1}
    assert list(kept.iterdir()) == []


def test_visual_comes_before_editor(
    invoke: Invoke, store: Path, editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUAL", editor("path.write_text('{\"n\": 1}')"))
    monkeypatch.setenv("EDITOR", "nonsense")
    assert invoke("state", "graz-1", "--edit", "--store", store).exit_code == 0
    assert state(store) == {"n": 1}


@pytest.mark.parametrize("program", ["", " ", "/nowhere/editor", "'", "nonsense-editor --wait"])
def test_without_an_editor(
    invoke: Invoke, store: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """Without an editor, or if it cannot be started, the error says what to do."""
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", program)
    done = invoke("state", "graz-1", "--edit", "--store", store)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "EDITOR" in done.stderr
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("path.write_text('{\"n\": ')", "line 1"),
        ("path.write_text('[1]')", "expected a mapping"),
        ("path.write_text('{\"n\": 3.14159265358979323846}')", "would be rounded to 3.141592653589793;"),
        ("path.write_text('{\"n\": 1}')\nsys.exit(3)", "ended with code 3"),
        ("path.write_text('{\"n\": 1}')\nos.kill(os.getpid(), 9)", "was ended by signal 9"),
    ],
)
def test_typed_text_that_cannot_be_stored_is_kept(
    invoke: Invoke, store: Path, editor: Editor, kept: Path, code: str, said: str
) -> None:
    """The error names the file with the text, and the reason."""
    editor(code)
    before = state_of(store)
    done = invoke("state", "graz-1", "--edit", "--store", store)
    assert (done.exit_code, done.stdout) == (4, "")
    assert said in done.stderr
    assert f"localstore: Your text is kept in {only(kept)}\n" in done.stderr
    assert code.partition("'")[2].partition("'")[0] == only(kept).read_text()
    assert state_of(store) == before


@pytest.mark.parametrize("comment", ["# mine", "n: 1  # mine", "n: |  # mine\n  text", "n: [1, # mine\n  2]"])
def test_comments_that_a_person_typed_are_not_dropped(
    invoke: Invoke, store: Path, editor: Editor, kept: Path, comment: str
) -> None:
    """The state was stored without the comments, and the file that had them was removed without a word."""
    typed = f"a: '# no comment'\n{comment}\n"
    editor(f"path.write_text({typed!r})")
    before = state_of(store)
    done = invoke("state", "graz-1", "--edit", "--yaml", "--store", store)
    assert (done.exit_code, done.stdout) == (4, "")
    assert f"{only(kept)}, line 2, column {comment.index('#') + 1}: a state cannot keep this comment." in done.stderr
    assert f"localstore: Your text is kept in {only(kept)}\n" in done.stderr
    assert only(kept).read_text() == typed
    assert state_of(store) == before


def test_signs_that_begin_no_comment_are_stored(invoke: Invoke, store: Path, editor: Editor, kept: Path) -> None:
    editor("path.write_text('a: x#1\\nb: \"# 2\"\\nc: |\\n  # 3\\n\\nd: >-\\n  x\\n  # 4\\n')")
    done = invoke("state", "graz-1", "--edit", "--yaml", "--store", store)
    assert (done.exit_code, state(store)) == (0, {"a": "x#1", "b": "# 2", "c": "# 3\n", "d": "x # 4"}), done.stderr
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "args", "problem"),
    [
        ("# mine\nn: 1\n", ("--yaml",), "a state cannot keep this comment"),
        ("n: 3.14159265358979323846\n", ("--yaml",), "would be rounded"),
        ('{"n": 3.14159265358979323846}', (), "would be rounded"),
        ('{"n": ', (), "line 1"),
    ],
)
def test_text_from_a_pipe_that_is_refused_is_kept(
    store: Path, kept: Path, text: str, args: tuple[str, ...], problem: str
) -> None:
    """Comments and digits were dropped without a word, and what was refused was lost."""
    before = state_of(store)
    words = ["state", "graz-1", "--set", "-", *args, "--store", str(store)]
    done = run_forked(words, store.parent, clean_environment(TMPDIR=str(kept)), text)
    assert (done.returncode, done.stdout) == (4, "")
    assert problem in done.stderr
    assert f"localstore: Your text is kept in {only(kept)}\n" in done.stderr
    assert only(kept).read_text() == text
    assert state_of(store) == before


def test_comments_in_a_file_stay_there(invoke: Invoke, store: Path, kept: Path) -> None:
    """The file is not changed, and a note says that the state has no comments."""
    file = store.parent / "state.yaml"
    file.write_text("n: 1  # mine\n")
    done = invoke("state", "graz-1", "--set", file, "--yaml", "--store", store)
    assert (done.exit_code, state(store)) == (0, {"n": 1})
    assert f"localstore: The comments in {file} are not part of the state.\n" in done.stderr
    assert (file.read_text(), list(kept.iterdir())) == ("n: 1  # mine\n", [])


@pytest.mark.parametrize("session_id", ["graz-1", "linz-1"])
def test_a_state_that_an_edit_would_round_is_not_edited(
    invoke: Invoke, store: Path, editor: Editor, kept: Path, session_id: str
) -> None:
    """The editor showed the number rounded, and the edited state was stored with the rounded number."""
    editor("path.write_text(text.replace('two', 'three'))")
    path = JsonStorage(store).path(session_id)
    edit(path, "2.5", "3.14159265358979323846")
    raw = path.read_bytes()
    done = invoke("state", session_id, "--edit", "--store", store)
    line = next(at for at, text in enumerate(raw.splitlines(), 1) if b"3.14159" in text)
    assert (done.exit_code, done.stdout, path.read_bytes()) == (4, "", raw)
    assert f"{path}, line {line}, column " in done.stderr
    assert "would be rounded" in done.stderr
    assert list(kept.iterdir()) == []


def test_an_editor_that_fails_without_a_change_leaves_no_file(
    invoke: Invoke, store: Path, editor: Editor, kept: Path
) -> None:
    editor("sys.exit(1)")
    assert invoke("state", "graz-1", "--edit", "--store", store).exit_code == 4
    assert list(kept.iterdir()) == []
    editor("path.unlink()")
    assert "left no file" in invoke("state", "graz-1", "--edit", "--store", store).stderr


@pytest.mark.parametrize("same", [True, False])
def test_a_state_that_another_process_stored_is_not_overwritten(
    invoke: Invoke, store: Path, editor: Editor, kept: Path, same: bool
) -> None:
    """The edit is refused if a run changed the state, unless the state of the run equals the edited one."""
    theirs = "{'n': 1}" if same else "{'theirs': 1}"
    editor(
        "import localstore\n"
        f"storage = localstore.JsonStorage({str(store)!r})\n"
        f"storage.append('graz-1', localstore.Run(run_id='meanwhile', session_state={theirs}), create=False)\n"
        "path.write_text('{\"n\": 1}')"
    )
    done = invoke("state", "graz-1", "--edit", "--store", store)
    if same:
        assert done.exit_code == 0, done.stderr
        assert state(store) == {"n": 1}
        return
    assert (done.exit_code, done.stdout) == (4, "")
    assert "was changed elsewhere while you edited it" in done.stderr
    assert f"is kept in {only(kept)}\n" in done.stderr
    assert only(kept).read_text() == '{"n": 1}'
    assert state(store) == {"theirs": 1}


def test_a_run_that_another_process_added_stays(invoke: Invoke, store: Path, editor: Editor) -> None:
    editor(
        "import localstore\n"
        f"localstore.JsonStorage({str(store)!r}).append('graz-1', localstore.Run(run_id='meanwhile'), create=False)\n"
        "path.write_text('{\"n\": 1}')"
    )
    assert invoke("state", "graz-1", "--edit", "--store", store).exit_code == 0
    session = JsonStorage(store).read("graz-1")
    assert session is not None
    assert (session.runs[-1].run_id, session.session_state) == ("meanwhile", {"n": 1})


@pytest.mark.parametrize("what", ["deleted", "read-only"])
def test_typed_text_is_kept_if_the_store_refuses_it(
    invoke: Invoke, store: Path, editor: Editor, kept: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = document(store)
    gone = f"os.unlink({str(path)!r})\n" if what == "deleted" else ""
    editor(f"{gone}path.write_text('{{\"n\": 1}}')")
    if what == "read-only":
        monkeypatch.setattr(filesystem, "system", ReadOnlySystem())
    done = invoke("state", "graz-1", "--edit", "--store", store)
    assert (done.exit_code, done.stdout) == (3 if what == "deleted" else 5, "")
    assert f"is kept in {only(kept)}\n" in done.stderr
    assert only(kept).read_text() == '{"n": 1}'


@posix
def test_ctrl_c_belongs_to_the_editor(store: Path, editor: Editor, kept: Path, tmp_path: Path) -> None:
    """Many editors give Ctrl-C another meaning. The text is stored when the editor ends."""
    ready, go_on = tmp_path / "ready", tmp_path / "go on"
    editor(
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"path.write_text('{{\"n\": 1}}')\nopen({str(ready)!r}, 'w').close()\n"
        f"while not os.path.exists({str(go_on)!r}):\n    time.sleep(0.01)"
    )
    process = subprocess.Popen(
        [ENTRY_POINT, "state", "graz-1", "--edit", "--store", store],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while not ready.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    go_on.touch()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"localstore: The session_state of graz-1 was stored.\n")
    assert state(store) == {"n": 1}


@posix
@pytest.mark.parametrize(
    ("typed", "code"), sampled([(b"e\n", 0), (b"\n", 0), (b"k\n", 4), (b"d\n", 4), (b"\x04", 130)], 2)
)
def test_a_person_can_edit_again(
    store: Path, editor: Editor, kept: Path, tmp_path: Path, typed: bytes, code: int
) -> None:
    """The second edit can be stored. If the person gives up instead, the text is in a file, unless it is dropped."""
    from .pseudo_terminal import on_terminal

    first = tmp_path / "first"
    editor(
        f"first = pathlib.Path({str(first)!r})\n"
        "path.write_text('{\"n\": 1' + ('}' if first.exists() else ''))\nfirst.touch()"
    )
    screen = on_terminal("state", "graz-1", "--edit", cwd=store, columns=200, typed=typed)
    assert screen.code == code
    assert "[e]dit it again, [k]eep it in a file, or [d]rop it?" in screen.text
    assert "line 1" in screen.text
    assert "Traceback" not in screen.text
    if code == 0:
        assert state(store) == {"n": 1}
        assert list(kept.iterdir()) == []
    elif typed == b"d\n":
        assert state(store) == STATE
        assert list(kept.iterdir()) == []
    else:
        assert state(store) == STATE
        assert f"is kept in {only(kept)}" in screen.text
        assert only(kept).read_text() == '{"n": 1'
