"""`localstore export`: which sessions, in which format, to which file."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage, Message, Run, YamlStorage
from tests import oracle
from tests.effort import ci_only, sampled

from .conftest import Command
from .test_check import state_of

Invoke = Callable[..., Result]
FORMATS = ("markdown", "html", "json", "openai-jsonl")
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


def ids(done: Result) -> list[str]:
    return [document["session_id"] for document in json.loads(done.stdout)]


@pytest.fixture
def export(invoke: Invoke, store: Path) -> Invoke:
    """Return a function that exports, as JSON by default."""

    def call(*args: str | Path) -> Result:
        form = () if "--format" in args else ("--format", "json")
        return invoke("export", *args, *form, "--store", store)

    return call


def test_the_whole_store_is_exported_newest_first(export: Invoke) -> None:
    done = export()
    assert (done.exit_code, done.stderr) == (0, "")
    assert ids(done) == ["vienna-trip", "linz-1", "graz-1"]


def test_json_equals_the_documents(export: Invoke, store: Path) -> None:
    """JSON and YAML documents are exported alike."""
    kept = oracle.sessions(store)
    for document in json.loads(export().stdout):
        told = kept[document["session_id"]]
        assert document == {**told.header, "history": told.history}


def test_named_sessions_are_exported_once_each(export: Invoke) -> None:
    assert ids(export("graz", "Trip to Vienna", "graz-1")) == ["graz-1", "vienna-trip"]
    done = export("graz", "nobody")
    assert (done.exit_code, done.stdout) == (3, "")


def test_filters_combine(export: Invoke, store: Path) -> None:
    JsonStorage(store).update("graz-1", tags=["a", "b"])
    JsonStorage(store).update("linz-1", tags=["a"])
    assert ids(export("--user", "alice")) == ["vienna-trip", "graz-1"]
    assert ids(export("--tag", "a")) == ["linz-1", "graz-1"]
    assert ids(export("--tag", "a", "--tag", "b")) == ["graz-1"]
    assert ids(export("--tag", "a", "--user", "bob")) == ["linz-1"]
    assert ids(export("--since", "2026-01-02T09:00+00:00")) == ["vienna-trip", "linz-1"]
    assert ids(export("--since", "2026-01-02T10:00:00Z", "--user", "alice")) == ["vienna-trip"]
    assert ids(export("--since", "2026-01-01", "--user", "bob")) == ["linz-1"]
    assert ids(export("graz-1", "vienna-trip", "--tag", "a")) == ["graz-1"]


def test_only_rated_runs(export: Invoke, invoke: Invoke, store: Path) -> None:
    invoke("rate", "vienna-trip", "3", "good", "--store", store)
    invoke("rate", "vienna-trip", "-1", "bad", "--store", store)
    invoke("rate", "graz-1", "1", "good", "--store", store)
    documents = json.loads(export("--rating", "good").stdout)
    assert [(one["session_id"], len(one["history"])) for one in documents] == [("vienna-trip", 1), ("graz-1", 1)]
    assert documents[0]["history"][0]["messages"][0]["content"] == "question 3"
    lines = export("--rating", "good", "--format", "openai-jsonl").stdout.splitlines()
    assert [json.loads(line)["messages"][-1]["content"] for line in lines] == ["answer 3", "Rain."]
    assert "question 12" in export("--rating", "bad", "--format", "markdown").stdout


def test_the_other_formats(export: Invoke) -> None:
    assert export("graz-1", "--format", "markdown").stdout.startswith(
        "# Graz?\n\ngraz-1 · agent guide · user alice · began"
    )
    assert export("graz-1", "--format", "html").stdout.startswith("<!DOCTYPE html>\n")
    (line,) = export("graz-1", "--format", "openai-jsonl").stdout.splitlines()
    assert [message["role"] for message in json.loads(line)["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert len(export("--format", "openai-jsonl").stdout.splitlines()) == 3


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_export_is_valid_and_noted(export: Invoke, invoke: Invoke, tmp_path: Path, form: str) -> None:
    """It happens in an empty store, and if no session matches the filters."""
    JsonStorage(tmp_path / "empty")
    empty = invoke("export", "--format", form, "--store", tmp_path / "empty")
    for done, why in ((empty, "yet."), (export("--user", "nobody", "--format", form), "No sessions match. ")):
        assert done.exit_code == 0
        assert why in done.stderr
        if form == "html":
            assert "No sessions" in done.stdout
        else:
            assert done.stdout == {"markdown": "", "json": "[]\n", "openai-jsonl": ""}[form]


def test_unreadable_documents_are_named_and_the_others_are_exported(export: Invoke, store: Path) -> None:
    JsonStorage(store).path("graz-1").write_text('{"schema_version": 1')
    (store / "sessions" / "2026-01" / "torn.json").write_text("{")
    done = export()
    assert done.exit_code == 1
    assert ids(done) == ["vienna-trip", "linz-1"]
    assert len(done.stderr.splitlines()) == 2
    for line, name in zip(sorted(done.stderr.splitlines()), ("graz-1.json", "torn.json"), strict=True):
        assert line.startswith("localstore: Not exported: ")
        assert name in line
    assert export("linz-1").exit_code == 0
    assert export("--format", "html").exit_code == 1


def test_a_run_that_is_not_an_example_is_named(export: Invoke, store: Path) -> None:
    JsonStorage(store).append("graz-1", Run(run_id="odd", messages=[Message(role="user", content="q")]))
    done = export("graz-1", "--format", "openai-jsonl")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 1)
    assert done.stderr == "localstore: Left out: run odd of graz-1: its last message is no answer.\n"


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_is_written_completely_and_never_replaces_another(
    run: Command, store: Path, tmp_path: Path, form: str
) -> None:
    """Only the owner can read the file, and the store does not change."""
    before = state_of(store)
    args = ("export", "--store", store, "--format", form, "--output", "out")
    done = run(*args)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    written = (tmp_path / "out").read_bytes()
    assert written.decode() == run(*args[:-2]).stdout
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600
    (tmp_path / "out").write_bytes(b"mine")
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("localstore: out exists. Choose another name, or replace it with --force.")
    assert (tmp_path / "out").read_bytes() == b"mine"
    assert run(*args, "--force").returncode == 0
    assert (tmp_path / "out").read_bytes() == written
    assert sorted(os.listdir(tmp_path)) == ["out", "store"]
    assert state_of(store) == before


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_file_that_cannot_be_made_is_named_before_anything_is_read(
    invoke: Invoke, store: Path, tmp_path: Path, force: tuple[str, ...]
) -> None:
    """The error named a temporary file, and advised to replace a folder."""
    args = ("export", "--store", store, "--format", "html", *force, "--output")
    done = invoke(*args, tmp_path / "none" / "out.html")
    said = f"localstore: There is no folder {tmp_path / 'none'}. Make it first. See 'localstore export --help'.\n"
    assert (done.exit_code, done.stderr) == (2, said)
    done = invoke(*args, tmp_path)
    said = f"localstore: {tmp_path} is a folder. Name a file. See 'localstore export --help'.\n"
    assert (done.exit_code, done.stderr) == (2, said)


@ci_only
@posix
def test_a_link_is_kept_and_a_device_is_written_to(run_process: Command, store: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    args = ("export", "--store", store, "--format", "json", "--force", "--output")
    assert run_process(*args, "link").returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert len(json.loads((tmp_path / "real").read_text())) == 3
    assert run_process(*args, "/dev/null").returncode == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert json.loads(run_process(*args, "/dev/stdout").stdout) == json.loads((tmp_path / "real").read_text())
    assert run_process("export", "--store", store, "--format", "json", "--output", "/dev/null").returncode == 0
    assert run_process(*args, "nowhere/out").returncode == 2
    assert run_process(*args, tmp_path).returncode == 2


@pytest.mark.parametrize(
    "args",
    [
        ("--format", "pdf"),
        ("--format", "json", "--since", "tomorrow"),
        ("--format", "json", "--rating", "great"),
        ("--format", "json", "--force"),
        ("--format", "json", "--output", ""),
        ("", "--format", "json"),
    ],
)
def test_wrong_usage(export: Invoke, args: tuple[str, ...]) -> None:
    done = export(*args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("See 'localstore export --help'.\n")


def test_the_format_is_required(invoke: Invoke, store: Path) -> None:
    done = invoke("export", "--store", store)
    assert done.exit_code == 2
    assert "markdown, html, json, openai-jsonl" in done.stderr
    assert done.stderr.count("\n") == 1


@posix
@pytest.mark.parametrize("form", sampled(FORMATS, 2))
def test_a_narrow_terminal_gets_no_control_characters(store: Path, form: str) -> None:
    from .pseudo_terminal import on_terminal

    text = "a\x1b[31mb\u202ec\x07"
    YamlStorage(store).append(
        "odd", Run(messages=[Message(role="user", content=text), Message(role="assistant", content=text)])
    )
    screen = on_terminal("export", "odd", "--format", form, "--store", store, cwd=store, columns=40)
    assert screen.code == 0
    assert not set("\x1b\x07\u202e") & set(screen.raw)
    assert "[31mb" in screen.text
