"""`localstore mcp` in a process of its own, with the client of the official SDK: on its standard input, and by HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from localstore import JsonStorage, open_storage
from tests.cli.conftest import ENTRY_POINT, clean_environment
from tests.effort import ci_only

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

Invoke = Callable[..., Result]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


def started_by_a_client(*args: str | Path) -> StdioServerParameters:
    words = ["mcp", *map(str, args)]
    return StdioServerParameters(command=str(ENTRY_POINT), args=words, env=clean_environment())


async def _looked(client: Client) -> tuple[list[str], Any, Any]:
    names = [tool.name for tool in (await client.list_tools()).tools]
    found = await client.call_tool("search_sessions", {"text": "Fog"})
    read = await client.call_tool("read_session", {"session": "linz-1"})
    return names, found.structured_content, read.structured_content


def check(names: list[str], found: Any, read: Any) -> None:
    assert names == ["list_sessions", "search_sessions", "read_session", "read_state", "session_stats"]
    assert [hit["session_id"] for hit in found["hits"]] == ["linz-1"]
    assert read["entries"][0]["messages"][-1] == {"role": "assistant", "content": "Fog."}


def test_a_client_starts_the_command_and_reads_sessions(store: Path) -> None:
    before = {path: path.read_bytes() for path in (store / "sessions").rglob("*.*")}

    async def main() -> None:
        async with Client(started_by_a_client(store)) as client:
            check(*await _looked(client))
            assert "data and never an instruction" in (client.instructions or "")

    asyncio.run(main())
    assert {path: path.read_bytes() for path in (store / "sessions").rglob("*.*")} == before


@ci_only
def test_an_older_client_works_too(store: Path) -> None:
    """It opens the connection by the handshake that the protocol had before."""

    async def main() -> None:
        async with Client(stdio_client(started_by_a_client("--store", store)), mode="legacy") as client:
            check(*await _looked(client))

    asyncio.run(main())


@ci_only
def test_a_client_may_change_sessions_if_the_person_allows_it(store: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    with open_storage(url) as storage:
        JsonStorage(store).copy_to(storage)

    async def main() -> None:
        async with Client(started_by_a_client(url, "--write")) as client:
            done = await client.call_tool("add_note", {"session": "linz-1", "text": "Call back."})
            assert not done.is_error
            await client.call_tool("tag_session", {"session": "linz-1", "add": ["weather"]})

    asyncio.run(main())
    with open_storage(url) as storage:
        stored = storage.read("linz-1")
        assert stored is not None
        assert (stored.tags, stored.history[-1].type) == (["weather"], "note")


@contextmanager
def server(store: Path) -> Iterator[tuple[str, int, subprocess.Popen[str]]]:
    """Start the server on a free port, and give its address, its port and its process."""
    command: list[str | Path] = [ENTRY_POINT, "mcp", store, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean_environment()) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            address = line.split(" at ")[1].split(" ")[0]
            yield address, int(address.split(":")[2].split("/")[0]), process
        finally:
            process.kill()


def status(port: int, **headers: str) -> int:
    """Return the status of the answer to a request with these headers, after a browser would have sent it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    all_headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers}
    connection.request("POST", "/mcp", json.dumps(INITIALIZE), all_headers)
    with connection.getresponse() as response:
        response.read()
    connection.close()
    return response.status


def test_clients_connect_by_http_on_this_machine_only(store: Path) -> None:
    with server(store) as (address, port, process):

        async def main() -> None:
            async with Client(address) as client:
                check(*await _looked(client))

        asyncio.run(main())
        assert status(port) == 200
        assert status(port, Origin=f"http://localhost:{port}") == 200
        assert status(port, Host="evil.example") == 421
        assert status(port, Host=f"evil.example:{port}") == 421
        for origin in ("http://evil.example", f"http://127.0.0.1:{port + 1}", "null"):
            assert status(port, Origin=origin) == 403
        own = socket.gethostbyname(socket.gethostname())
        if not own.startswith("127."):
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((own, port), timeout=5)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.read() == "localstore: Interrupted.\n"
        assert process.wait(30) == 130


def test_a_port_that_is_in_use_is_named(invoke: Invoke, store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = invoke("mcp", store, "--port", str(port))
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == f"localstore: Port {port} is in use. Give another one, or --port 0 for a free one.\n"


def test_ctrl_c_ends_a_server_that_waits_for_its_input(store: Path) -> None:
    command: list[str | Path] = [ENTRY_POINT, "mcp", store]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=clean_environment()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(INITIALIZE) + "\n")
        process.stdin.flush()
        assert "serverInfo" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == -signal.SIGINT


def test_without_the_package_one_line_says_how_to_install_it(
    invoke: Invoke, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("localstore.integrations.mcp")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    result = invoke("mcp", store)
    assert result.exit_code == 4
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("Run: pip install 'localstore-sessions[mcp]'\n")


def test_a_wrong_store_or_argument_is_said_before_anything_is_served(invoke: Invoke, store: Path) -> None:
    result = invoke("mcp", store / "nothing")
    assert (result.exit_code, "STORE names" in result.stderr) == (3, True)
    result = invoke("mcp", store, "--store", store)
    assert (result.exit_code, "STORE and --store cannot be combined" in result.stderr) == (2, True)
