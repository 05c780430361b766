"""The pager: started with its options, left early, or missing."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from unittest import mock

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the pagers are programs of POSIX")


def print_lines(count: int, header: int = 0) -> int:
    """Print numbered lines in the pager, and return how many were printed."""
    printed = 0
    with (
        mock.patch.object(sys.stdout, "isatty", return_value=True),
        import_module("localstore_cli.pager").paged(wanted=True, header=header) as screen,
    ):
        for number in range(count):
            screen.print(f"line {number}")
            printed += 1
    return printed


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("LESS", raising=False)


@pytest.mark.parametrize(("less", "options"), [(None, "FRX"), ("-S", "-S")])
def test_less_gets_the_usual_options_unless_a_person_has_set_some(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], less: str | None, options: str
) -> None:
    monkeypatch.setenv("PAGER", "sh -c 'echo $LESS; sed s/^/:/'")
    if less is not None:
        monkeypatch.setenv("LESS", less)
    assert print_lines(2) == 2
    assert capfd.readouterr().out == f"{options}\n:line 0\n:line 1\n"


def test_a_pager_that_is_left_early_ends_the_output(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is no error: the rest is not printed anywhere, and Ctrl-C works again."""
    monkeypatch.setenv("PAGER", "head -n 1")
    assert 0 < print_lines(100_000) < 100_000
    assert capfd.readouterr() == ("line 0\n", "")
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


@pytest.mark.parametrize("pager", ["no-such-pager -x", "'"])
def test_a_pager_that_cannot_be_started_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], pager: str
) -> None:
    """The output goes to the terminal."""
    monkeypatch.setenv("PAGER", pager)
    print_lines(1)
    out, err = capfd.readouterr()
    assert out == "line 0\n"
    assert err.startswith(f"localstore: PAGER is '{pager}', which cannot be started: No")
    assert err.endswith("Correct it, or use --no-pager.\n")


@pytest.mark.parametrize(("name", "value"), [("PAGER", ""), ("PAGER", "cat"), ("TERM", "dumb")])
def test_an_empty_pager_means_none(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv("PAGER", "sed s/^/:/")
    monkeypatch.setenv(name, value)
    print_lines(1)
    assert capfd.readouterr() == ("line 0\n", "")


@pytest.mark.parametrize(
    ("version", "less", "args"),
    [("less 608 (GNU)", None, "--header=2"), ("less 590 (GNU)", None, ""), ("odd", None, ""), ("less 608", "R", "")],
)
def test_the_header_stays_at_the_top_of_a_less_that_can_do_that(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    version: str,
    less: str | None,
    args: str,
) -> None:
    """An older one would refuse the option. Options that a person has set are all that it gets."""
    program = tmp_path / "less"
    program.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && echo '{version}' && exit\necho args: $*; cat\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("PAGER", raising=False)
    if less is not None:
        monkeypatch.setenv("LESS", less)
    print_lines(1, header=2)
    assert capfd.readouterr().out == f"args: {args}".rstrip() + "\nline 0\n"
