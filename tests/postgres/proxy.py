"""A line to a server that can be cut at a chosen moment."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

from postgres.server import PORT, Server


class Proxy:
    """Passes on what clients and ``server`` say, on a socket in ``folder``.

    ``cut_at(tag)``: the next time that the server says a command of this tag is done, nobody hears it: the line is cut.
    """

    def __init__(self, server: Server, folder: Path) -> None:
        self.folder, self._target = folder, str(server.folder / f".s.PGSQL.{PORT}")
        self._tag: bytes | None = None
        self.cuts = 0
        self._lock = threading.Lock()
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(folder / f".s.PGSQL.{PORT}"))
        self._door.listen()
        self._lines: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def address(self, database: str, user: str) -> str:
        """For libpq."""
        return f"host={self.folder} port={PORT} dbname={database} user={user}"

    def cut_at(self, tag: str) -> None:
        """Cut the line instead of telling that such a command is done, once."""
        self._tag = tag.encode() + b"\0"

    def close(self) -> None:
        """Cut all lines for good."""
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for line in self._lines:
            _hang_up(line)
        for thread in self._threads:
            thread.join(5)
        for line in self._lines:
            line.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            self._lines += [client, server]
            for source, target, heard in ((client, server, False), (server, client, True)):
                thread = threading.Thread(target=self._pass_on, args=(source, target, heard), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket, from_server: bool) -> None:
        try:
            while words := source.recv(1 << 16):
                if from_server and self._is_due(words):
                    break
                target.sendall(words)
        except OSError:
            pass
        _hang_up(source)
        _hang_up(target)

    def _is_due(self, words: bytes) -> bool:
        with self._lock:
            if self._tag is None or self._tag not in words:
                return False
            self._tag = None
            self.cuts += 1
            return True


def _hang_up(line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
