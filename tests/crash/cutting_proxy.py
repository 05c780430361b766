"""A proxy in front of a server that cuts connections in the middle of what is sent, delays it, or sends no more."""

import random
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

Address = Path | tuple[str, int]
"""The path of a socket, or a host and a port."""


class CuttingProxy:
    """Listens on a socket, and passes on what clients and the server send, until it cuts a connection.

    Each connection is cut after a random number of bytes: of a question, or of an answer. With `drops`, some of the
    connections stay open instead, and nothing is passed on any more; with `delays`, some pass on everything late.
    """

    def __init__(
        self, address: Address, server: Address, seed: int, *, drops: bool = False, delays: bool = False
    ) -> None:
        self._server = server
        self._random = random.Random(seed)
        self._drops, self._delays = drops, delays
        self._listener = _socket(address)
        self._listener.bind(str(address) if isinstance(address, Path) else address)
        self._listener.listen()
        self.cuts = self.dropped = 0
        self.is_cutting = True
        self._ends = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """The port, of a proxy with a host."""
        port: int = self._listener.getsockname()[1]
        return port

    def close(self) -> None:
        self._ends.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = _socket(self._server)
                with suppress(OSError):
                    server.connect(str(self._server) if isinstance(self._server, Path) else self._server)
                drops = self._drops and self._random.random() < 0.1
                pause = self._random.uniform(0, 0.02) if self._delays and self._random.random() < 0.3 else 0.0
                for source, target in ((client, server), (server, client)):
                    left = self._random.randrange(500, 12_000)
                    arguments = (source, target, left, drops, pause)
                    threading.Thread(target=self._pass_on, args=arguments, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, left: int, drops: bool, pause: float) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self.is_cutting and len(data) >= left:
                    if drops:
                        self.dropped += 1
                        self._ends.wait()
                    self.cuts += not drops
                    target.sendall(data[:left])
                    break
                left -= len(data)
                time.sleep(pause)
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _socket(address: Address) -> socket.socket:
    return socket.socket(socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET)
