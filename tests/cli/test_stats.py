"""`localstore stats`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage, Metrics, Run
from localstore.models.stats import Prices

from .conftest import Command

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
PRICES: Prices = {"big": [10, 20], "small": [1.0, 2.0, 0.5]}


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A store in which two models were used in two months."""
    storage = JsonStorage(tmp_path / "used")
    metrics = Metrics(input_tokens=1_000_000, output_tokens=100_000, cached_tokens=400_000, duration_seconds=1.25)
    uses = (("a", "alice", "big-2026-01-01", 10), ("a", "alice", "small", 11), ("b", None, "small", 12))
    for number, (session_id, user, model, hour) in enumerate(uses):
        run = Run(model=model, metrics=metrics, created_at=f"2026-1{min(number, 1)}-01T{hour}:00:00Z")
        if number == 1:
            run.status, run.error = "error", "offline"
        storage.append(session_id, run, user_id=user)
    return storage.root


@pytest.fixture(params=["prices.yaml", "prices.json"])
def prices(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path: Path = tmp_path / request.param
    text = "# dollars\nbig: [10, 20]\nsmall: [1.0, 2.0, 0.5]\n"
    path.write_text(json.dumps(PRICES) if path.suffix == ".json" else text)
    return path


def test_a_pipe_gets_one_line_for_each_group(run: Command, used: Path) -> None:
    """Without a heading and a total: the values of the group, then the numbers, which a program can add up."""
    done = run("stats", "--store", used)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split("\t") for line in done.stdout.splitlines()] == [
        ["2026-10", "1", "1", "0", "1000000", "100000", "400000", "1.25"],
        ["2026-11", "2", "2", "1", "2000000", "200000", "800000", "2.5"],
    ]
    by_two = run("stats", "--by", "user, status", "--store", used).stdout
    assert [line.split("\t")[:4] for line in by_two.splitlines()] == [
        ["", "completed", "1", "1"],
        ["alice", "error", "1", "2"],
    ]


def test_prices_come_from_a_file(invoke: Invoke, used: Path, prices: Path) -> None:
    """The cost is the last column. The price of a model holds for the one with a date in its name."""
    done = invoke("stats", "--by", "model", "--prices", prices, "--store", used)
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split("\t")[-1] for line in done.stdout.splitlines()] == ["12", "2"]


def test_a_model_without_a_price_is_named(invoke: Invoke, used: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("big: [1, 1]\n")
    done = invoke("stats", "--by", "model", "--prices", file, "--store", used)
    assert done.exit_code == 0
    assert done.stderr == "localstore: The cost leaves out the tokens of small, for which there is no price.\n"


def test_json_has_groups_and_total(invoke: Invoke, used: Path, prices: Path) -> None:
    done = invoke("stats", "--json", "--by", "model", "--prices", prices, "--store", used)
    result = json.loads(done.stdout)
    assert result == JsonStorage(used).stats(by=("model",), prices=PRICES).as_dict()
    assert (result["total"]["sessions"], result["total"]["cost"], result["unpriced"]) == (2, 14.0, [])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("small: 1\n", "the price of 'small' must be two or three numbers (input, output, cached input)"),
        ("small: [1]\n", "the price of 'small' must be two or three numbers"),
        ("small: [1, -1]\n", "the price of 'small' must be two or three numbers"),
        ("small: [1, .inf]\n", "prices.yaml"),
        ("- small\n", "prices must be a mapping from model to prices, not ['small']"),
        ("small: [1, 2\n", "prices.yaml, line 2: "),
        ("small: [1, 2]\nsmall: [3, 4]\n", "prices.yaml, line 2: "),
        ("", "prices.yaml, line 1: there is no document"),
    ],
)
def test_a_wrong_price_file_is_refused(invoke: Invoke, used: Path, tmp_path: Path, content: str, problem: str) -> None:
    """The error names the file, the line or the model."""
    file = tmp_path / "prices.yaml"
    file.write_text(content)
    done = invoke("stats", "--prices", file, "--store", used)
    assert (done.exit_code, done.stdout) == (2, "")
    assert problem in done.stderr


def test_a_missing_price_file_is_named(invoke: Invoke, used: Path) -> None:
    done = invoke("stats", "--prices", "nowhere.yaml", "--store", used)
    assert (done.exit_code, done.stdout) == (5, "")
    assert "nowhere.yaml: No such file or directory." in done.stderr


@pytest.mark.parametrize(
    ("by", "problem"),
    [("year", "must be one of"), ("month,month", "by has 'month' twice. See"), ("mnth", "Did you mean 'month'?")],
)
def test_an_unknown_group_is_refused(invoke: Invoke, used: Path, by: str, problem: str) -> None:
    done = invoke("stats", "--by", by, "--store", used)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "'--by'" in done.stderr
    assert problem in done.stderr


def test_a_document_that_cannot_be_read_is_mentioned(invoke: Invoke, used: Path) -> None:
    """Its last known counts are used; they may not be the right ones."""
    path = JsonStorage(used).path("b")
    path.write_text(path.read_text()[:-9])
    done = invoke("stats", "--by", "model", "--store", used)
    assert done.exit_code == 0
    assert [line.split("\t")[:3] for line in done.stdout.splitlines()] == [
        ["big-2026-01-01", "1", "1"],
        ["small", "2", "2"],
    ]
    assert done.stderr == (
        "localstore: 1 document cannot be read, so the last known counts are used. 'localstore check' says why.\n"
    )
    assert json.loads(invoke("stats", "--json", "--store", used).stdout)["unreadable"] == 1


def test_an_empty_store_says_so(invoke: Invoke, tmp_path: Path) -> None:
    JsonStorage(tmp_path / "empty")
    done = invoke("stats", "--store", tmp_path / "empty")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"localstore: No sessions in the store {tmp_path.resolve() / 'empty'} yet.\n"
    assert json.loads(invoke("stats", "--json", "--store", tmp_path / "empty").stdout)["groups"] == []


@posix
@pytest.mark.parametrize("columns", [20, 40, 80, 140])
def test_the_table_fits_on_a_terminal(used: Path, columns: int) -> None:
    """There is a total, and bars where there is room for them. The longest one stands for the largest amount."""
    from .pseudo_terminal import on_terminal

    screen = on_terminal("stats", "--by", "month", cwd=used, columns=columns)
    assert screen.code == 0
    header, *lines = screen.lines
    assert all(len(line) <= columns for line in screen.lines)
    assert [line.split()[0] for line in lines] == ["2026-10", "2026-11", "total"]
    assert header.split()[0] == "month"
    assert ("█" in screen.text) == (columns >= 80)
    if columns == 140:
        assert header.split() == [
            "month",
            "sessions",
            "runs",
            "failed",
            "input",
            "output",
            "cached",
            "seconds",
            "tokens",
        ]
        assert lines[1].split()[1:] == ["2", "2", "1", "2,000,000", "200,000", "800,000", "2.5", "█" * 30]
        assert lines[0].split()[-1] == "█" * 15
        assert lines[2].split() == ["total", "2", "3", "1", "3,000,000", "300,000", "1,200,000", "3.8"]


@posix
def test_bars_compare_costs_where_there_are_prices(used: Path, prices: Path) -> None:
    from .pseudo_terminal import on_terminal

    screen = on_terminal("stats", "--by", "model", "--prices", prices, cwd=used, columns=140)
    header, *lines = screen.lines
    assert header.split()[-2:] == ["cost", "cost"]
    assert lines[0].split()[-2:] == ["12.0000", "█" * 30]
    assert lines[1].split()[-2:] == ["2.0000", "█" * 5]


@posix
def test_one_group_has_neither_total_nor_bar(used: Path) -> None:
    from .pseudo_terminal import on_terminal

    screen = on_terminal("stats", "--by", "entity", cwd=used)
    assert len(screen.lines) == 2
    assert screen.lines[1].split()[:3] == ["-", "2", "3"]
