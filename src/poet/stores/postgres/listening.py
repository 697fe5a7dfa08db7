"""Hints that another has changed something: heard on a connection of its own, in a thread of its own."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg import sql

from poet.stores.postgres.link import Link, Session

NAME = "poet listener"  # what the server's lists call its connection
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0  # between two tries to connect [s]
_QUIET = 30.0  # after so long without a hint it asks whether the server is still there [s]
_FAREWELL = 2.0  # longest wait for the thread's end [s]


class Listener:
    """Calls a function whenever the channel is notified by others, and once after it has listened anew.

    It may miss what happens while it has no connection; so whoever listens asks from time to time all the same.
    """

    def __init__(self, link: Link, channel: str) -> None:
        self._link, self._channel = link, channel
        self._hint: Callable[[], None] = _nothing
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._session: Session | None = None
        self._process = os.getpid()

    def start(self, hint: Callable[[], None]) -> None:
        """From now on tell ``hint``, and nobody else. In a child of the process that began, begin anew."""
        self._hint = hint
        if self._thread is None or self._process != os.getpid():
            self._process = os.getpid()
            self._stop, self._session = threading.Event(), None
            self._thread = threading.Thread(target=self._run, name="poet-listener", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread and its connection."""
        self._stop.set()
        if self._process != os.getpid():
            return
        session, thread = self._session, self._thread
        if session is not None:
            with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(session.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)  # the thread waits for what comes on it
        if thread is not None and thread is not threading.current_thread():
            thread.join(_FAREWELL)

    def _run(self) -> None:
        pause, first = _FIRST_PAUSE, True
        while not self._stop.is_set():
            try:
                with self._link.connect(NAME) as session:
                    self._session = session
                    session.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
                    if not first:  # something may have happened meanwhile
                        self._tell()
                    pause, first = _FIRST_PAUSE, False
                    self._listen(session)
            except (psycopg.Error, OSError):
                pass  # whoever asks for the generation will be told what is wrong
            finally:
                self._session = None
            self._stop.wait(pause)
            pause, first = min(2 * pause, _LONGEST_PAUSE), False

    def _listen(self, session: Session) -> None:
        while not self._stop.is_set():
            quiet = True
            session.silence = None
            for notification in session.notifies(timeout=_QUIET, stop_after=1):
                quiet = False
                if notification.pid != self._link.backend:  # our own changes we know
                    self._tell()
            session.silence = self._link.patience
            if quiet:
                session.execute("SELECT 1")

    def _tell(self) -> None:
        with suppress(Exception):  # a fault of whoever is told ends no listening
            self._hint()


def _nothing() -> None:
    """Nobody is told."""
