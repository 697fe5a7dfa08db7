"""A real HTTP server that answers as recorded, in a process of its own.

``GET /{service}/{call}/{attempt}?arm=…`` answers after the recorded seconds divided by the recording's ``speed_up``:
200, 503 for an error, nothing at all for a hang. A client that goes away is not waited for. ``GET /health`` tells what
was done so far.

Needs the packages of ``pip install "poet-runtime[demo]"``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from poet.errors import PoetError
from poet.sim.fragile import Fragile
from poet.sim.traffic import Recording, load_recordings

HOST = "127.0.0.1"
START_LIMIT = 30.0  # longest wait for the child's first answer [s]
STOP_LIMIT = 3.0  # longest wait for its end before it is forced [s]
BACKLOG = 512


class PlaybackFailed(PoetError, RuntimeError):
    """The server's process did not come up. Its own message is in the text; mend that and start again."""


class Playback:
    """The application: answers of all recordings, and a tally of what was asked."""

    def __init__(self, recordings: Mapping[str, Recording]) -> None:
        self.recordings = recordings
        self.waiting = 0  # requests that have no answer yet
        self.abandoned = 0  # requests whose client went away first
        self.asked: Counter[str] = Counter()  # requests by "arm service"

    def app(self) -> Starlette:
        """Routes for one server."""
        return Starlette(
            routes=[
                Route("/health", self.health),
                Route("/{service}/{call:int}/{attempt:int}", self.answer),
                *Fragile().routes(),
            ]
        )

    async def health(self, request: Request) -> Response:
        """What was done so far."""
        return JSONResponse({"waiting": self.waiting, "abandoned": self.abandoned, "asked": dict(self.asked)})

    async def answer(self, request: Request) -> Response:
        """The recorded answer, at its time; nothing that anybody would read where the client has gone."""
        recording = self.recordings.get(request.path_params["service"])
        if recording is None:
            return PlainTextResponse(f"no such recording; there are {', '.join(self.recordings)}", status_code=404)
        self.asked[f"{request.query_params.get('arm', '')} {recording.name}"] += 1
        sample = recording.at(request.path_params["call"], request.path_params["attempt"])
        played = None if sample.outcome == "hang" else sample.seconds / recording.speed_up
        if not await self._wait(request, played):
            self.abandoned += 1
            return Response(status_code=499)
        if sample.outcome == "error":
            return PlainTextResponse("the record holds an error here", status_code=503)
        return PlainTextResponse(f"{recording.name}: {sample.seconds:.6g} s")

    async def _wait(self, request: Request, seconds: float | None) -> bool:
        """Whether the client is still there after ``seconds``; None waits until it has gone."""
        self.waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await _gone(request)
        except TimeoutError:
            return True
        finally:
            self.waiting -= 1
        return False


async def _gone(request: Request) -> None:
    """Return when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _listener() -> socket.socket:
    """A free port. Its protocol is named, as asyncio sets TCP_NODELAY only then; else each answer is 40 ms late."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind((HOST, 0))
    listener.listen(BACKLOG)
    return listener


def serve(recordings: Mapping[str, Recording]) -> None:
    """Serve on a free port of the loopback device, whose address is the first line printed, until stdin ends.

    The end of stdin means that the parent is done, or dead: so no server outlives it, whatever happened to it.
    """
    listener = _listener()
    config = uvicorn.Config(
        Playback(recordings).app(), log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=600
    )

    def watch() -> None:
        sys.stdin.read()
        os._exit(0)  # nothing is kept, so nothing is put in order: what still hangs is dropped without a word

    threading.Thread(target=watch, daemon=True).start()
    print(f"http://{HOST}:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


class PlaybackServer:
    """The server in a child process, as a context manager; it is stopped however the block ends.

    names: of the recordings to serve; None serves all.
    """

    def __init__(self, names: tuple[str, ...] | None = None) -> None:
        self._command = [sys.executable, "-m", "poet.sim.playback", *(names or ())]
        self._process: subprocess.Popen[str] | None = None
        self.url = ""  # without a slash at its end; empty while it is not running

    def __enter__(self) -> PlaybackServer:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us; we stop the child when our callers are done
        )
        try:
            self.url = self._first_line()
            self._until_it_answers()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int | None:
        """The child's process number; None while it is not running."""
        return None if self._process is None else self._process.pid

    def health(self) -> dict[str, Any]:
        """``waiting``, ``abandoned`` and ``asked`` (requests by "arm service"), as the server counts them."""
        with urllib.request.urlopen(f"{self.url}/health", timeout=START_LIMIT) as answer:  # noqa: S310 - our own address
            told: dict[str, Any] = json.load(answer)
        return told

    def _first_line(self) -> str:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        if not line.startswith("http://"):
            raise PlaybackFailed(f"the playback server did not start (it said {line!r}); its error is printed above")
        return line

    def _until_it_answers(self) -> None:
        end = time.monotonic() + START_LIMIT
        while True:
            try:
                self.health()
            except OSError as error:
                process = self._process
                if process is None or process.poll() is not None or time.monotonic() > end:
                    raise PlaybackFailed(f"the playback server at {self.url} does not answer: {error}") from error
            else:
                return

    def _stop(self) -> None:
        process, self._process, self.url = self._process, None, ""
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        for force in (process.terminate, process.kill):
            try:
                process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                force()
        process.wait()


def main(arguments: list[str] | None = None) -> int:
    """Serve the named recordings, or all."""
    parser = argparse.ArgumentParser(prog="python -m poet.sim.playback", description="Answer over HTTP as recorded.")
    parser.add_argument("recordings", nargs="*", help="names of recordings; all where none is given")
    names = parser.parse_args(arguments).recordings
    serve(load_recordings(names or None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
