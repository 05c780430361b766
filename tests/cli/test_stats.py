"""`localstore stats`."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console

from localstore import JsonStorage, Metrics, Run
from localstore.models.stats import GroupKey, Prices
from tests.effort import sampled

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


def test_the_groups_may_stand_in_several_options(invoke: Invoke, used: Path) -> None:
    """Of `--by user --by model`, the last option counted without a word."""
    once = invoke("stats", "--by", "user,model", "--store", used)
    assert once.exit_code == 0
    assert invoke("stats", "--by", "user", "--by", "model", "--store", used).stdout == once.stdout


def test_days_are_counted_from_the_documents(invoke: Invoke, used: Path) -> None:
    """Together with other groups too."""
    days = invoke("stats", "--by", "day,user", "--store", used)
    assert (days.exit_code, days.stderr) == (0, "")
    assert [line.split("\t")[:5] for line in days.stdout.splitlines()] == [
        ["2026-10-01", "alice", "1", "1", "0"],
        ["2026-11-01", "", "1", "1", "0"],
        ["2026-11-01", "alice", "1", "1", "1"],
    ]


def test_a_terminal_shows_how_many_documents_are_read(
    invoke: Invoke, used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where that takes some time."""
    monkeypatch.setattr("localstore_cli.progress._BETWEEN", 0.0)
    days = invoke("stats", "--by", "day", "--store", used)
    assert days.stderr.startswith("localstore: 1 of 2 documents read, ")
    assert days.stderr.count("\n") == 1


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
    [("year", "must be one of"), ("month,month", "'--by': has 'month' twice. See"), ("mnth", "Did you mean 'month'?")],
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
@pytest.mark.parametrize("columns", sampled([20, 40, 80, 140], 2))
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
            "time",
            "tokens",
        ]
        assert re.split("  +", lines[1])[1:] == ["2", "2", "1 (50%)", "2.00M", "200k", "800k", "2.5 s", "█" * 30]
        assert lines[0].split()[-1] == "█" * 15
        assert re.split("  +", lines[2].rstrip()) == ["total", "2", "3", "1 (33%)", "3.00M", "300k", "1.20M", "3.8 s"]


@posix
def test_bars_compare_costs_where_there_are_prices(used: Path, prices: Path) -> None:
    from .pseudo_terminal import on_terminal

    screen = on_terminal("stats", "--by", "model", "--prices", prices, cwd=used, columns=140)
    header, *lines = screen.lines
    assert header.split()[-2:] == ["time", "cost"]
    assert lines[0].split()[-2:] == ["12.0000", "█" * 30]
    assert lines[1].split()[-2:] == ["2.0000", "█" * 5]


def table(storage: JsonStorage, by: tuple[GroupKey, ...], columns: int, prices: Prices | None = None) -> list[str]:
    """The lines of the table on a terminal of this width."""
    text = io.StringIO()
    print_stats = import_module("localstore_cli.stats_table").print_stats
    print_stats(Console(file=text, width=columns), storage.stats(by=by, prices=prices), by)
    return text.getvalue().splitlines()


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        ("short_count", (0, 9999, 10_000, 99_949, 99_950, 999_499, 999_500), "0 9,999 10.0k 99.9k 100k 999k 1.00M"),
        ("short_count", (22_686_201, 2_000_000_000, 10**15, 10**19), "22.7M 2.00B 1,000T 10,000,000T"),
        ("short_time", (0.0, 3.75, 99.94, 99.96, 5996), "0.0 s, 3.8 s, 99.9 s, 1.7 min, 99.9 min"),
        ("short_time", (6000.0, 100_226.4, 3_600_000_000.0), "1.7 h, 27.8 h, 1,000,000.0 h"),
    ],
)
def test_large_numbers_have_three_digits_and_a_unit(function: str, values: tuple[float, ...], expected: str) -> None:
    call = getattr(import_module("localstore.models.figures"), function)
    assert [call(value) for value in values] == expected.split(", " if ", " in expected else None)


def test_failures_have_a_share_of_the_runs() -> None:
    call = import_module("localstore.models.figures").count_with_share
    assert [call(0, 5), call(14, 174), call(1, 500), call(1200, 1200)] == ["0", "14 (8%)", "1 (<1%)", "1,200 (100%)"]


def test_the_least_important_numbers_give_way_to_the_names_of_groups_and_to_bars(used: Path) -> None:
    storage = JsonStorage(used)
    heading = table(storage, ("user",), 64)[0]
    assert heading.split() == ["user", "sessions", "runs", "failed", "input", "output", "time", "tokens"]
    storage.append("c", Run(model="gemma3:27b-instruct-q4"))
    for columns, numbers in ((40, "runs failed"), (70, "sessions runs failed input output time")):
        header, *lines = table(storage, ("model",), columns)
        assert [line.split()[0] for line in lines] == ["big-2026-01-01", "gemma3:27b-instruct-q4", "small", "total"]
        assert header.split() == ["model", *numbers.split()]


def test_a_model_without_a_price_has_no_cost_on_a_terminal(used: Path) -> None:
    """It is not free."""
    lines = table(JsonStorage(used), ("model",), 80, {"big": [1, 1]})
    assert [line.rstrip("█ ").split()[-1] for line in lines] == ["cost", "1.1000", "-", "1.1000"]


@posix
def test_a_long_table_goes_through_the_pager(used: Path) -> None:
    from .pseudo_terminal import on_terminal

    pager = {"PAGER": "tr a-z A-Z", "NO_COLOR": "1"}
    for options, heading in (((), "MONTH"), (("--no-pager",), "month")):
        assert heading in on_terminal("stats", *options, cwd=used, env=pager).text


@posix
def test_one_group_has_neither_total_nor_bar(used: Path) -> None:
    from .pseudo_terminal import on_terminal

    screen = on_terminal("stats", "--by", "entity", cwd=used)
    assert len(screen.lines) == 2
    assert screen.lines[1].split()[:3] == ["-", "2", "3"]
