"""The async twins of the storage's calls, and a storage in a `with` statement."""

import asyncio
import inspect
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage, Message, Run, Session, SessionInfo, Step, YamlStorage
from localstore.storage.storage import Storage as AnyStorage
from tests.unit.raw import Storage, answered, run_ids

WITHOUT_TWIN = {"close", "bulk", "sessions", "export"}
"""`close` and `bulk` do not wait for the disk; what `bulk` returns works with `async with`. `asessions` is an async
generator. An export reads while its pieces are made."""


def public_methods() -> dict[str, Any]:
    return {
        name: member
        for name, member in inspect.getmembers(AnyStorage, inspect.isfunction)
        if not name.startswith("_") and not inspect.isasyncgenfunction(member)
    }


SYNC = sorted(name for name, member in public_methods().items() if not inspect.iscoroutinefunction(member))


def test_every_method_has_a_twin() -> None:
    asynchronous = {name for name, member in public_methods().items() if inspect.iscoroutinefunction(member)}
    assert asynchronous == {f"a{name}" for name in SYNC if name not in WITHOUT_TWIN}


@pytest.mark.parametrize("name", [name for name in SYNC if name not in WITHOUT_TWIN])
def test_a_twin_has_the_signature_and_the_docstring_of_its_method(name: str) -> None:
    method, twin = getattr(AnyStorage, name), getattr(AnyStorage, f"a{name}")
    assert inspect.signature(twin) == inspect.signature(method)
    assert (twin.__name__, twin.__qualname__) == (f"a{name}", f"{method.__qualname__.removesuffix(name)}a{name}")
    first, about, *others = (inspect.getdoc(twin) or "").split("\n\n")
    paragraphs = (inspect.getdoc(method) or "").split("\n\n")
    assert first == paragraphs[0]
    assert about.startswith("Runs in a thread")
    assert others == [part for part in paragraphs[1:] if ">>>" not in part]


def test_the_twins_do_what_their_methods_do(storage: Storage) -> None:
    async def use() -> None:
        await storage.aappend("flow", Run(run_id="r1", status="unfinished"), kind="workflow", user_id="alice")
        await storage.aadd_step("flow", "r1", Step(name="draft"), number=0)
        await storage.aappend("s1", answered("r1"), user_id="alice")
        await storage.aupdate("s1", name="Trip")
        await storage.arate("s1", "r1", "good")
        session: Session | None = await storage.aread("s1", last_runs=1)
        assert session is not None
        assert (session.name, session.runs[0].rating) == ("Trip", "good")
        session.tags.append("t")
        await storage.aupsert(session)
        infos: list[SessionInfo] = await storage.alist_sessions(user_id="alice", limit=1)
        assert (infos[0].session_id, infos[0].tags) == ("s1", ("t",))
        assert await storage.aget_all_session_ids() == ["s1", "flow"]
        assert len(await storage.aget_all_sessions()) == len(await storage.aget_recent_sessions()) == 2
        examples: list[Message] = await storage.aexamples("good", limit=3)
        assert [message.role for message in examples] == ["user", "assistant"]
        assert await storage.apath("s1") == storage.path("s1")
        assert await storage.aunreadable_files() == {}
        assert await storage.aignored_files() == {}
        assert not (await storage.aupgrade_schema()).problems
        assert await storage.adelete_session("s1") is True
        await storage.adrop()
        with pytest.raises(TypeError, match="session_id must be text"):
            await storage.aread(5)  # type: ignore[arg-type]

    asyncio.run(use())
    assert storage.list_sessions() == []


def test_the_event_loop_runs_while_a_twin_waits(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    is_free = threading.Event()
    read = type(storage).read

    def slow(self: Storage, session_id: str, **options: Any) -> Session | None:
        assert is_free.wait(60)
        return read(self, session_id, **options)

    monkeypatch.setattr(type(storage), "read", slow)  # as in a subclass: the twin calls it, too

    async def use() -> None:
        reading = asyncio.ensure_future(storage.aread("nowhere"))
        await asyncio.sleep(0.01)
        assert not reading.done()
        is_free.set()
        assert await reading is None

    asyncio.run(use())


def test_a_write_that_was_started_is_finished_when_its_task_is_cancelled(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `asyncio.to_thread` alone, the task ended while the run was still being written."""
    has_begun, may_end = threading.Event(), threading.Event()
    append = type(storage).append

    def slow(self: Storage, *args: Any, **options: Any) -> None:
        has_begun.set()
        assert may_end.wait(60)
        append(self, *args, **options)

    monkeypatch.setattr(type(storage), "append", slow)

    async def use() -> None:
        writing = asyncio.ensure_future(storage.aappend("s1", answered("r1")))
        assert await asyncio.to_thread(has_begun.wait, 10)
        writing.cancel()
        await asyncio.sleep(0.01)
        assert not writing.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert run_ids(storage.path("s1")) == ["r1"]

    asyncio.run(use())


def _open_files(root: Path) -> list[str]:
    links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    paths = [os.readlink(link) for link in links if os.path.lexists(link)]
    return [path for path in paths if path.startswith(f"{root}{os.sep}")]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the open files are read from /proc")
@pytest.mark.parametrize("kind", [JsonStorage, YamlStorage])
def test_a_storage_closes_its_files_at_the_end_of_a_with_statement(
    kind: type[JsonStorage] | type[YamlStorage], tmp_path: Path
) -> None:
    """They stayed open as long as the object lived. On Windows, the folder could not be deleted in that time."""
    with kind(tmp_path / "store") as storage:
        for number in range(8):
            storage.append(f"s{number}", answered("r1"))
        assert len(storage.list_sessions()) == 8
        assert _open_files(storage.root)
    assert _open_files(storage.root) == []
    storage.append("s0", answered("r2"))  # it opens them again
    assert run_ids(storage.path("s0")) == ["r1", "r2"]
    assert {info.session_id: info.runs for info in storage.list_sessions()}["s0"] == 2
    with pytest.raises(FileNotFoundError), storage:
        (tmp_path / "missing").read_bytes()
    assert _open_files(storage.root) == []


def test_closing_disturbs_no_other_thread(storage: Storage) -> None:
    """The files of a lock that another thread holds stay open, so that its lock is not released."""
    other = type(storage)(storage.root)
    problems: list[BaseException] = []
    has_ended = threading.Event()

    def write(name: str) -> None:
        try:
            for number in range(30):
                other.append(name, answered(f"r{number}"))
        except BaseException as error:  # noqa: BLE001 - shown below
            problems.append(error)

    def close() -> None:
        while not has_ended.is_set():
            storage.close()
            other.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "a-2", "b")]
    closer = threading.Thread(target=close)
    for thread in [closer, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    has_ended.set()
    closer.join()
    assert problems == []
    for name in ("a", "a-2", "b"):
        assert run_ids(storage.path(name)) == [f"r{number}" for number in range(30)]
    assert {info.runs for info in storage.list_sessions()} == {30}
