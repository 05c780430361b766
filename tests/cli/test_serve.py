"""`localstore serve`: what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest
from click.testing import Result

from tests.effort import ci_only

from .conftest import clean_environment

Invoke = Callable[..., Result]
MAIN = "from localstore_cli.app import main; main()"


def started(*args: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAIN, "serve", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment())


@ci_only
@pytest.mark.parametrize("store_in", ["folder", "database"])
def test_the_printed_address_opens_the_pages_and_ctrl_c_ends_them(store: Path, tmp_path: Path, store_in: str) -> None:
    where = str(store)
    if store_in == "database":
        from localstore import JsonStorage, open_storage

        where = f"sqlite:///{tmp_path / 'sessions.db'}"
        with open_storage(where) as database:
            JsonStorage(store).copy_to(database)
    with started(where, "--port", "0", "--read-only") as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        opener = build_opener(HTTPCookieProcessor())
        page = opener.open(address, timeout=60).read().decode()
        assert "Trip to Vienna" in page
        assert "Move to the trash" not in page
        with pytest.raises(HTTPError, match="403"):
            build_opener().open(address.partition("?")[0], timeout=60)
        with pytest.raises(HTTPError, match="421"):
            opener.open(Request(address, headers={"Host": "attacker.invalid"}), timeout=60)  # noqa: S310
        server.send_signal(signal.SIGINT)
        assert server.communicate(timeout=60) == ("", "localstore: Ctrl-C stops the server.\n")
    assert server.returncode == 0


def test_each_part_of_an_answer_is_sent_at_once() -> None:
    """Each answer took 40 ms longer: its second part waited until the browser had acknowledged the first."""

    async def accepted() -> int:
        connections: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        async with await asyncio.start_server(lambda _, writer: connections.put_nowait(writer), sock=listening):
            _, client = await asyncio.open_connection(*listening.getsockname())
            server = await connections.get()
            for writer in (client, server):
                writer.close()
            return int(server.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    listening = import_module("localstore_cli.browser_server").listen("127.0.0.1", 0, 0)
    assert asyncio.run(accepted())


def test_a_port_that_is_taken_is_named(invoke: Invoke, store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = invoke("serve", store, "--port", str(port))
    assert done.exit_code == 4
    assert f"Cannot listen on 127.0.0.1, port {port}" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("--host", "::"), "--host needs --allow-host NAME"),
        (("--allow-host", "pc"), "--host needs --allow-host NAME"),
        (("--store", "x"), "STORE and --store cannot be combined"),
        (("--port", "70000"), "70000 is not in the range"),
    ],
)
def test_options_that_do_not_fit_are_refused(invoke: Invoke, store: Path, args: tuple[str, ...], problem: str) -> None:
    done = invoke("serve", store, *args)
    assert done.exit_code == 2
    assert problem in done.stderr


def test_a_store_that_is_not_there_is_named(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke("serve", tmp_path / "nowhere")
    assert done.exit_code == 3
    assert "STORE names" in done.stderr


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_without_the_extra_one_line_says_how_to_install_it(store: Path, package: str) -> None:
    hidden = f"import sys; sys.modules[{package!r}] = None; {MAIN}"
    command = [sys.executable, "-c", hidden, "serve", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean_environment())
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "pip install 'localstore-sessions[serve]'" in done.stderr


def test_a_site_is_written_to_a_new_folder_alone(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    done = invoke("export", "--format", "site", "--output", site, "--store", store)
    assert (done.exit_code, done.stderr) == (0, f"localstore: Wrote {site / 'index.html'}\n")
    assert "Trip to Vienna" in (site / "index.html").read_text(encoding="utf-8")
    assert (site / "dashboard.html").exists()
    for args in (("--output", site), (), ("--output", tmp_path / "a" / "b"), ("--output", site, "--force")):
        assert invoke("export", "--format", "site", *args, "--store", store).exit_code == 2
