"""A proxy in front of a server that cuts connections in the middle of what is sent."""

import random
import socket
import threading
from contextlib import suppress
from pathlib import Path


class CuttingProxy:
    """Listens on a socket, and passes on what clients and the server send, until it cuts a connection.

    Each connection is cut after a random number of bytes: of a question, or of an answer.
    """

    def __init__(self, path: Path, server: Path, seed: int) -> None:
        self._server = server
        self._random = random.Random(seed)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.cuts = 0
        self.is_cutting = True
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                for source, target in ((client, server), (server, client)):
                    left = self._random.randrange(500, 12_000)
                    threading.Thread(target=self._pass_on, args=(source, target, left), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, left: int) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self.is_cutting and len(data) >= left:
                    self.cuts += 1
                    target.sendall(data[:left])
                    break
                left -= len(data)
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
