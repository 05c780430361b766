"""Serves the pages of a store on a port of this machine, until Ctrl-C."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from localstore.errors import LocalstoreError
from localstore.viewer import app
from localstore.viewer.safety import LOOPBACK

if TYPE_CHECKING:
    from types import FrameType

    from localstore.models.stats import Prices
    from localstore.storage.contract import SessionStorage
    from localstore.viewer.application import Viewer

_GRACE = 1
"""How many seconds open pages have to finish when the server stops."""


class PortTaken(LocalstoreError, OSError):
    """The port cannot be listened on."""


class _Server(uvicorn.Server):
    """Ends the streams of open pages as soon as it is asked to stop."""

    def __init__(self, config: uvicorn.Config, pages: Viewer) -> None:
        super().__init__(config)
        self._pages = pages

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._pages.close()
        super().handle_exit(sig, frame)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the pages are."""

    host: str
    port: int
    token: str

    @property
    def url(self) -> str:
        """The address to open, with the token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/?token={self.token}"


def listen(host: str, port: int | None, usual: int) -> socket.socket:
    """Return a socket that listens on a port; without one, on the usual one, or on any if that is taken.

    Raises PortTaken if the port, or the address, cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in (usual, 0) if port is None else (port,):
        # With its protocol named, asyncio sends each part of an answer at once. A browser waited 40 ms for the second.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, number))
            listening.listen(128)
            return listening
        except OSError as error:
            listening.close()
            problem = error
    raise PortTaken(
        f"Cannot listen on {host}, port {port}: {problem.strerror}. Choose another port with --port, or 0 for any."
    )


def serve(
    storage: SessionStorage,
    listening: socket.socket,
    ready: Callable[[Address], None],
    *,
    allowed: Collection[str],
    read_only: bool,
    prices: Prices | None,
) -> None:
    """Serve the pages of a storage until Ctrl-C. `ready` is called with the address as soon as it can be opened."""
    token = secrets.token_urlsafe(24)
    host, port = listening.getsockname()[:2]
    pages = app(storage, read_only=read_only, token=token, hosts=[*LOOPBACK, *allowed], prices=prices)
    config = uvicorn.Config(
        pages,
        log_level="critical",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )
    ready(Address(next(iter(allowed), host), port, token))
    with contextlib.suppress(KeyboardInterrupt):  # it is how a server ends
        _Server(config, pages).run(sockets=[listening])
