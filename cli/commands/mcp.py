"""`localstore mcp`: let AI clients read the sessions of a store."""

from __future__ import annotations

import errno
import signal
import sys
from typing import TYPE_CHECKING

import click

import localstore
from localstore.errors import LocalstoreError

from .. import output
from ..store_option import open_named, open_store, store_name, store_option

if TYPE_CHECKING:
    from socket import socket


@click.command()
@click.argument("folder", metavar="[STORE]", required=False)
@click.option("--write", is_flag=True, help="Let clients rate runs, tag sessions and add notes, too.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Serve HTTP on this port of this machine, and not the standard input. 0 takes a free one.",
)
@store_option
def command(folder: str | None, write: bool, port: int | None, store: str | None) -> None:
    """Serve a store to AI clients: they search, list and read its sessions, states, ratings and statistics.

    Clients such as Claude Desktop, Cursor and VS Code start this command themselves, and speak the Model Context
    Protocol (MCP) with it on its standard input and output. STORE is a folder or the URL of a database.

    Without --write, nothing can be changed. Nothing can be deleted.
    """
    if folder is not None and store is not None:
        raise click.UsageError("STORE and --store cannot be combined", click.get_current_context())
    storage = open_store(store) if folder is None else open_named(folder, "STORE")
    try:
        from localstore.integrations.mcp import server
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("localstore"):
            raise
        raise LocalstoreError(
            f"'localstore mcp' needs the package mcp, version 2, and there is no module {error.name}. "
            "Run: pip install 'localstore-sessions[mcp]'"
        ) from None
    sessions = server.session_server(storage, write=write, version=localstore.__version__)
    if port is not None:
        with _listen(port) as listener:
            output.note(f"Serving {store_name(storage)} at {server.address(listener)} until Ctrl-C is pressed")
            server.serve_http(sessions, listener)
        return
    if output.can_ask():
        output.note("An AI client starts this command, and speaks with it on the standard input. Ctrl-D ends it.")
    if sys.stdin is None:
        raise click.UsageError("The standard input is closed", click.get_current_context())
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a thread waits for the input, and Python would wait for the thread
    server.serve_stdio(sessions)


def _listen(port: int) -> socket:
    from localstore.integrations.mcp.server import listen

    try:
        return listen(port)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        what = "is in use" if error.errno == errno.EADDRINUSE else "is not open to you"
        raise LocalstoreError(f"Port {port} {what}. Give another one, or --port 0 for a free one.") from None
