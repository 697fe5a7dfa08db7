"""A learner that goes wrong beside a live service: real HTTP, real threads, a real store, and nobody who watches."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from poet import remaining
from poet.app import Agent, build
from poet.decorator import bind
from poet.model.rollout import KIND, Rollout
from poet.model.tunable import Value
from poet.settings import Settings
from poet.testing.believer import Believer
from postgres.server import shared

PATIENCE = 60.0  # [s]


class Slow(BaseHTTPRequestHandler):
    """Answers after some 20 ms, and fails now and then."""

    dice = Random(5)

    def do_GET(self) -> None:
        time.sleep(self.dice.lognormvariate(-4.0, 0.4))
        self.send_response(503 if self.dice.random() < 0.01 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002 - the base's own name


@pytest.fixture
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join(5.0)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'poet.db'}"
    else:
        with shared().database("incident") as made:
            yield made


MAD: dict[str, Value] = {"timeout": 0.001, "retries": 0}  # a limit of a millisecond is what it wants


def agent_at(url: str, folder: Path) -> Agent:
    return build(Settings(store=url, root=folder, rollout="canary", store_interval=0.2, train_interval=0.02))


def test_what_a_mad_learner_proposes_is_contained_by_itself(service: str, url: str, tmp_path: Path) -> None:
    """Its region is then left alone for a minute, so that one roll-out is all there is in a test of some seconds."""
    agents = [agent_at(url, tmp_path), agent_at(url, tmp_path)]
    client = httpx.Client(timeout=10.0)

    def ask() -> None:
        client.get(service, timeout=max(remaining(), 1e-3)).raise_for_status()

    functions: list[Any] = [
        bind(agent)(enable_training=True, timeout=5.0, retries=1, name="shop.price")(ask) for agent in agents
    ]
    for function in functions:
        function()
    functions[0].poet._trainee.learner = Believer(MAD)
    functions[1].poet._trainee.learner = None
    key, store = functions[0].poet._trainee.key, agents[0].open().store

    def rollouts() -> list[Rollout]:
        return [Rollout.of(document) for document in store.documents(KIND, key)]

    over = threading.Event()

    def call(function: Any) -> int:
        failed = 0
        while not over.is_set():
            try:
                function()
            except (TimeoutError, httpx.HTTPError):
                failed += 1
        return failed

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(call, function) for function in (*functions, *functions)]
        until = time.monotonic() + PATIENCE
        while not any(rollout.ended for rollout in rollouts()) and time.monotonic() < until:
            time.sleep(0.05)
        ended = rollouts()
        time.sleep(1.0)  # of calls after it
        over.set()
        failures = sum(each.result(PATIENCE) for each in working)
    for agent in agents:
        agent.flush()
    calls = list(store.executions(key))
    harmed = [each for each in calls if each.version == 2]
    try:
        assert [rollout.phase for rollout in ended] == ["rolled back"]
        assert "calls with it" in ended[0].sentence
        assert store.history(key)[-1].reason.startswith("v2 rolled back: ")
        assert store.standing(key).live.version == 1
        assert {each.propensity for each in harmed} <= {0.25, 0.5}
        # A quarter of the calls, for as long as it takes to look; nothing of it in what came after.
        assert 5 <= len(harmed) <= 60
        assert max(each.started for each in harmed) < ended[0].log[-1].at + 1.0
        assert failures <= len(harmed) + 0.05 * len(calls)
        assert {each.writer for each in calls} == {agent.writer for agent in agents}
    finally:
        for agent in agents:
            agent.close()
        client.close()
