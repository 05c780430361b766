"""Work that several processes share. They are real ones, which load this module to get their functions."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from localstore.errors import SessionNotFound
from localstore.maintenance import processes
from localstore.maintenance.processes import shared
from tests.effort import ci_only

Result = tuple[int, int]
"""The double of a task, and the process that did it."""


def doubles(waits_for: Path | None = None) -> Callable[[int], Result]:
    """Return a function that doubles numbers. It fails for 13, and for 99 it waits until a file exists."""

    def double(task: int) -> Result:
        if task == 13:
            raise SessionNotFound("There is no session 13.", session_id="13")
        while task == 99 and waits_for is not None:
            Path(f"{waits_for}.{os.getpid()}").touch()
            if waits_for.exists():
                break
        return 2 * task, os.getpid()

    return double


def here(tasks: Iterator[tuple[int, int]]) -> Generator[tuple[int, Result], None, None]:
    """Do tasks in this process."""
    yield from ((number, doubles()(task)) for number, task in tasks)


def work(
    tasks: list[int], count: int, waits_for: Path | None = None
) -> "closing[Generator[tuple[int, Result], None, None]]":
    return closing(shared(tasks, here, doubles, (waits_for,), count, "store"))


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_one_process_starts_no_other() -> None:
    with work([1, 2, 3], 1) as results:
        assert [*results] == [(number, (2 * number + 2, os.getpid())) for number in range(3)]


def test_each_task_is_done_once_and_all_processes_work() -> None:
    tasks = [*range(20, 60)]
    with work(tasks, 2) as results:
        found = dict(results)
    assert [found[number][0] for number in range(len(tasks))] == [2 * task for task in tasks]
    assert len({pid for _, pid in found.values()}) == 2
    assert found[0][1] != os.getpid()


def test_the_error_of_a_task_in_another_process_is_raised() -> None:
    with work([13, 1], 2) as results, pytest.raises(SessionNotFound, match="no session 13") as caught:
        assert [*results]
    assert caught.value.session_id == "13"


def fails() -> Callable[[int], Result]:
    raise SessionNotFound("There is no session at all.", session_id="13")


@ci_only
def test_a_process_that_cannot_begin_raises_its_error(capfd: pytest.CaptureFixture[str]) -> None:
    """It was written to standard error with a traceback, and the error said that the process was stopped."""
    with pytest.raises(SessionNotFound, match="at all"):
        assert [*shared([1, 2], here, fails, (), 2, "store")]
    assert capfd.readouterr().err == ""


@ci_only
def test_a_process_that_is_killed_is_an_error(tmp_path: Path) -> None:
    with work([99, 1, 2], 2, tmp_path / "go") as results:
        assert next(results)[0] == 1
        wait_until(lambda: [*tmp_path.iterdir()])
        (name,) = tmp_path.iterdir()
        os.kill(int(name.suffix[1:]), signal.SIGKILL)
        with pytest.raises(ChildProcessError, match="A worker process") as caught:
            assert [*results]
    assert caught.value.filename == "store"


@ci_only
def test_a_process_that_does_not_finish_in_time_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that Ctrl-C ends a copy whose database does not answer."""
    monkeypatch.setattr(processes, "_GRACE", 0.1)
    with work([99, 1, 2], 2, tmp_path / "never") as results:
        assert next(results)[0] == 1
        wait_until(lambda: [*tmp_path.iterdir()])
    (name,) = tmp_path.iterdir()
    assert not is_running(int(name.suffix[1:]))


_PARENT = """
from pathlib import Path
from tests.unit.maintenance.test_processes import work
if __name__ == "__main__":
    with work([99, 1], 2, Path({path!r})) as results:
        print([*results])
"""


@ci_only
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at /proc")
def test_no_process_outlives_one_that_is_killed(tmp_path: Path) -> None:
    """They waited for more work for ever."""
    script = tmp_path / "parent.py"
    script.write_text(_PARENT.format(path=str(tmp_path / "never")))
    parent = subprocess.Popen(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": os.getcwd()}, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: [*tmp_path.glob("never.*")])
    (name,) = tmp_path.glob("never.*")
    assert is_running(int(name.suffix[1:]))
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_running(int(name.suffix[1:])))


@ci_only
def test_a_script_without_a_guard_gets_an_error_that_says_so(tmp_path: Path) -> None:
    """Each process loads the script, which begins the work again."""
    script = tmp_path / "parent.py"
    script.write_text(_PARENT.format(path=str(tmp_path / "go")).replace('if __name__ == "__main__":', "if True:"))
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "it must do so under if __name__ == '__main__'" in done.stderr.splitlines()[-1]
