"""What users of retry libraries ask for again and again, one test each, named after the demand.

Collected from the issue trackers of tenacity, backoff, stamina, pybreaker, hyx, litellm, openai-python and others.
Real loops, threads, sockets and processes; where only the order of things matters, a virtual clock.
"""

from __future__ import annotations

import asyncio
import contextvars
import http.server
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from email.utils import formatdate
from typing import Any

import httpx
import pytest

import poet as package
from houses import House, Script
from poet import Breaker, Budget, CircuitOpen, ConfigurationError, Dependency, Event, PoetTimeout, on_result
from poet.model.execution import Outcome
from poet.seams import SYSTEM_CLOCK
from poet.testing.clock import run

SHORT = 0.05  # a limit [s]
LONG = 5.0  # what would run without it [s]


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def real() -> House:
    """On the machine's own clock."""
    return House(clock=SYSTEM_CLOCK)


@pytest.fixture
def server() -> Iterator[Callable[..., str]]:
    """Starts a real HTTP server that gives the answers it is told, in order; the last one again and again."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(*answers: tuple[int, dict[str, str]]) -> str:
        waiting = list(answers)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers = waiting.pop(0) if len(waiting) > 1 else waiting[0]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None: ...

        made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(made)
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{made.server_address[1]}/"

    yield start
    for made in servers:
        made.shutdown()
        made.server_close()


def took(call: Callable[[], Any]) -> float:
    start = time.monotonic()
    with suppress(PoetTimeout):
        call()
    return time.monotonic() - start


def raising(house: House, *errors: BaseException, **options: Any) -> Any:
    script = Script(house.clock, *errors)

    def body() -> int:
        return script()

    return house.poet(**options)(body)


# ---------------------------------------------------------------- limits


def test_01_a_limit_interrupts_an_attempt_that_runs(real: House) -> None:
    release = threading.Event()

    @real.poet(timeout=SHORT, retries=0, enforce_timeout="thread")
    def hangs() -> None:
        release.wait(LONG)

    @real.poet(timeout=SHORT, retries=0)
    async def hangs_async() -> None:
        await asyncio.sleep(LONG)

    assert took(hangs) < LONG / 2
    assert took(lambda: asyncio.run(hangs_async())) < LONG / 2
    release.set()


def test_02_a_deadline_holds_for_all_attempts_and_pauses_together(house: House) -> None:
    @house.poet(timeout=30.0, retries=3, deadline=35.0, backoff=1.0)
    async def slow() -> None:
        await asyncio.sleep(31.0)

    start = house.clock.now()
    with pytest.raises(PoetTimeout):
        run(slow(), house.clock)
    assert house.clock.now() - start <= 35.0 + 1e-6


def test_03_the_limit_of_an_attempt_and_that_of_the_call_are_two_named_things(house: House) -> None:
    seen: list[float] = []

    @house.poet(timeout=2.0, deadline=5.0, retries=9, backoff=0.0)
    def ask() -> None:
        seen.append(package.remaining() or 0.0)
        house.clock.sleep(1.5)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        ask()
    assert seen == pytest.approx([2.0, 2.0, 2.0, 0.5])


# ---------------------------------------------------------------- answers that steer


@pytest.mark.parametrize("date", [False, True], ids=["seconds", "date"])
def test_04_retry_after_is_honoured(server: Callable[..., str], date: bool) -> None:
    house = House()
    wall = time.time()
    house.clock.set_wall(wall)
    after = formatdate(wall + 8, usegmt=True) if date else "7"
    url = server((429, {"Retry-After": after}), (200, {}))

    @house.poet(backoff=0.0)
    def fetch() -> int:
        return httpx.get(url).raise_for_status().status_code

    start = house.clock.now()
    assert fetch() == 200
    assert 6.0 <= house.clock.now() - start <= 8.1
    assert fetch.poet.last.attempts[1].waited >= 6.0


def test_05_functions_share_the_budget_of_the_dependency_they_call(house: House) -> None:
    shared = Dependency("payments", budget=Budget(share=0.0, floor=3))
    pay = raising(house, ConnectionResetError(), retries=9, backoff=0, dependency=shared, name="pay")
    refund = raising(house, ConnectionResetError(), retries=9, backoff=0, dependency="payments", name="refund")
    requests = 0
    for call in (pay, refund):
        with pytest.raises(ConnectionResetError):
            call()
        requests += len(call.poet.last.attempts)
    assert requests == 2 + 3


def test_06_retries_within_retries_do_not_multiply(house: House) -> None:
    requests = 0

    @house.poet(retries=3, backoff=0, name="sdk")
    def sdk() -> None:
        nonlocal requests
        requests += 1
        raise ConnectionResetError

    @house.poet(retries=2, backoff=0, name="service")
    def service() -> None:
        sdk()

    with pytest.raises(ConnectionResetError):
        service()
    assert requests == 4


# ---------------------------------------------------------------- what must not be broken


def test_07_cancellation_and_ctrl_c_are_never_swallowed_or_retried(house: House) -> None:
    asked = 0

    @house.poet(retries=5)
    async def hangs() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(100)

    async def main() -> None:
        task = asyncio.create_task(hangs())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(main(), house.clock)
    assert asked == 1
    interrupted = raising(house, KeyboardInterrupt(), retries=5, name="interrupted")
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(interrupted.poet.last.attempts) == 1


def test_08_a_limit_by_thread_leaks_no_threads_and_does_not_hang_the_exit() -> None:
    program = """
import threading, time
from poet import configure, poet, PoetTimeout
configure(store="memory:")
@poet(timeout=.05, retries=0, enforce_timeout="thread")
def hangs(seconds): time.sleep(seconds)
for _ in range(20):
    hangs(0)
busy = threading.active_count()
for _ in range(20):
    hangs(0)
assert threading.active_count() <= busy
try:
    hangs(30)
except PoetTimeout:
    print("left", flush=True)
"""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "left\n"
    assert time.monotonic() - start < 15


def test_09_limits_work_off_the_main_thread_as_in_web_servers(real: House) -> None:
    release = threading.Event()

    @real.poet(timeout=SHORT, retries=0, enforce_timeout="thread", name="by_thread")
    def by_thread() -> None:
        release.wait(LONG)

    @real.poet(timeout=SHORT, retries=0, enforce_timeout="signal", name="by_signal")
    def by_signal() -> None:
        time.sleep(LONG)

    found: list[Any] = []

    def work() -> None:
        found.append(took(by_thread))
        try:
            by_signal()
        except ConfigurationError as error:
            found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(LONG)
    release.set()
    assert found[0] < LONG / 2
    assert "thread" in found[1]  # says what to use instead


def test_10_context_variables_are_seen_under_every_limit(real: House) -> None:
    span: contextvars.ContextVar[str] = contextvars.ContextVar("span")
    span.set("trace 7")

    @real.poet(enforce_timeout="thread", timeout=LONG)
    def in_thread() -> str:
        return span.get()

    @real.poet(hedge_delay=0.001, hedges=1, timeout=LONG)
    async def hedged() -> str:
        await asyncio.sleep(0.01)
        return span.get()

    assert in_thread() == "trace 7"
    assert asyncio.run(hedged()) == "trace 7"


def test_11_the_decorated_signature_and_what_is_added_are_typed() -> None:
    program = """
from typing import assert_type
from poet import Event, Handle, listen, poet
@poet(retries=1, hedge_delay=.1)
async def fetch(key: str, *, loud: bool = False) -> bytes: return b""
assert_type(fetch.poet, Handle)
async def use() -> None:
    assert_type(await fetch("a", loud=True), bytes)
    await fetch(3)  # type: ignore[arg-type]
def hear(event: Event) -> None: ...
listen(hear)
poet(retires=1)  # type: ignore[call-overload]
"""
    words = [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--no-error-summary", "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert (done.stdout, done.returncode) == ("", 0)


# ---------------------------------------------------------------- streams


def test_12_generators_are_streamed_and_retried_only_before_the_first_item(house: House) -> None:
    begun = 0

    @house.poet(retries=2, backoff=0)
    def words() -> Iterator[str]:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise ConnectionResetError
        yield "a"
        yield "b"

    stream = words()
    assert next(stream) == "a"  # before the second was made
    assert list(stream) == ["b"]
    assert begun == 2


def test_13_the_first_item_has_a_limit_of_its_own(house: House) -> None:
    @house.poet(timeout=1.0, item_timeout=5.0, deadline=60.0, retries=0)
    async def tokens(first: float, later: float) -> AsyncIterator[int]:
        await asyncio.sleep(first)
        yield 1
        await asyncio.sleep(later)
        yield 2

    async def read(first: float, later: float) -> list[int]:
        return [item async for item in tokens(first, later)]

    assert run(read(0.5, 4.0), house.clock) == [1, 2]
    for lengths in ((2.0, 0.0), (0.5, 6.0)):
        with pytest.raises(PoetTimeout):
            run(read(*lengths), house.clock)


def test_14_a_stream_that_breaks_in_the_middle_is_never_replayed(house: House) -> None:
    begun = 0
    got: list[int] = []

    @house.poet(retries=5, backoff=0)
    def items() -> Iterator[int]:
        nonlocal begun
        begun += 1
        yield 1
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        got.extend(items())
    assert begun == 1


# ---------------------------------------------------------------- seeing and steering


def test_15_statistics_are_of_ones_own_call_however_many_run_at_once(house: House) -> None:
    @house.poet(retries=9, backoff=0)
    async def fetch(failures: int) -> int:
        await asyncio.sleep(0.01 * (10 - failures))
        left[failures] -= 1
        if left[failures] >= 0:
            raise ConnectionResetError
        return len(fetch.poet.last.attempts) if fetch.poet.last else 0

    left = {failures: failures for failures in range(5)}

    async def one(failures: int) -> int:
        await fetch(failures)
        return len(fetch.poet.last.attempts)

    async def main() -> list[int]:
        return await asyncio.gather(*(one(failures) for failures in range(5)))

    assert run(main(), house.clock) == [1, 2, 3, 4, 5]


def test_16_users_tests_run_without_sleeping_and_with_few_attempts() -> None:
    program = """
import poet
tries = 0
@poet.poet(retries=5, backoff=60, timeout=60)
def fetch():
    global tries
    tries += 1
    raise ConnectionResetError
with poet.set_testing(attempts=2):
    try: fetch()
    except ConnectionResetError: pass
print(tries)
poet.configure(learning="off")
try: fetch()
except ConnectionResetError: pass
print(tries)
"""
    environment = {"POET_STORE": "memory:", "PATH": ""}
    words = [sys.executable, "-c", program]
    start = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True, env=environment)
    assert done.stdout.split() == ["2", "3"]
    assert time.monotonic() - start < 30


def test_17_any_metrics_system_can_listen_before_and_after(house: House) -> None:
    counted: list[tuple[str, float]] = []
    flaky = raising(house, ConnectionResetError(), 0.5, retries=1, name="flaky")  # type: ignore[arg-type]
    house.agent.listeners.add(lambda event: counted.append((event.kind, event.wait)))
    assert flaky() == 2
    assert [kind for kind, _ in counted] == ["attempt_failed", "retry"]
    assert counted[1][1] == flaky.poet.last.attempts[1].waited
    broken: list[Event] = []
    house.agent.listeners.add(lambda event: broken.append(event) or 1 / 0)  # type: ignore[func-returns-value]
    with pytest.raises(ConnectionResetError):
        raising(house, ConnectionResetError(), retries=0, name="dead")()
    assert len(broken) == 2


def test_18_parameters_change_at_run_time_for_some_callers_and_on_methods(house: House) -> None:
    class Client:
        asked = 0

        @house.poet(retries=3, backoff=0)
        def fetch(self) -> None:
            self.asked += 1
            raise ConnectionResetError

    client = Client()

    def requests(call: Callable[[], object]) -> int:
        client.asked = 0
        with pytest.raises(ConnectionResetError):
            call()
        return client.asked

    assert requests(client.fetch) == 4
    assert requests(lambda: Client.fetch.poet.using(retries=0)(client)) == 1
    Client.fetch.poet.pin(retries=1)
    assert requests(client.fetch) == 2


# ---------------------------------------------------------------- brakes


def test_19_an_async_breaker_lets_exactly_one_probe_through(house: House) -> None:
    asked = 0

    @house.poet(retries=0, dependency=Dependency("x", breaker=Breaker(min_calls=2, open_for=5.0)))
    async def fetch() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.1)
        if asked <= 2:
            raise ConnectionResetError
        return asked

    async def main() -> list[Any]:
        await asyncio.gather(fetch(), fetch(), return_exceptions=True)
        await asyncio.sleep(5.0)
        return await asyncio.gather(*(fetch() for _ in range(10)), return_exceptions=True)

    results = run(main(), house.clock)
    assert results[0] == 3
    assert all(isinstance(result, CircuitOpen) for result in results[1:])
    assert asked == 3


def test_20_retries_and_the_breaker_know_each_other(house: House) -> None:
    shared = Dependency("x", breaker=Breaker(min_calls=3))
    call = raising(house, ConnectionResetError(), retries=9, backoff=0, dependency=shared, name="f")
    with pytest.raises(ConnectionResetError):  # the function's own error, not the breaker's
        call()
    assert len(call.poet.last.attempts) == 3
    with pytest.raises(CircuitOpen):
        call()
    assert call.poet.last.outcome is Outcome.SHED  # neither a failure nor a latency to learn from


def test_21_hedging_with_a_cap(house: House) -> None:
    asked = 0
    capped = Dependency("llm", budget=Budget(share=0.0, floor=1))

    @house.poet(hedge_delay=0.5, hedges=2, timeout=10.0, dependency=capped)
    async def ask() -> int:
        nonlocal asked
        asked += 1
        mine = asked
        await asyncio.sleep(5.0 if mine == 1 else 0.2)
        return mine

    start = house.clock.now()
    assert run(ask(), house.clock) == 2
    assert house.clock.now() - start == pytest.approx(0.7, abs=1e-3)
    asked = 0
    assert run(ask(), house.clock) == 1  # the budget is used up: no copy
    assert asked == 1


def test_22_the_original_exception_with_a_short_traceback(house: House) -> None:
    class OwnError(ConnectionError):
        pass

    own = OwnError("mine")
    call = raising(house, OwnError("first"), OwnError("second"), own, retries=2, backoff=0, name="f")
    with pytest.raises(OwnError) as caught:
        call()
    assert caught.value is own
    assert caught.value.__cause__ is None
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert sum("poet/calls" in frame.filename.replace("\\", "/") for frame in frames) <= 3


def test_23_a_cost_budget_and_one_idempotency_key_across_retries(house: House) -> None:
    keys: list[str] = []

    @house.poet(
        retries=9,
        backoff=0,
        retry_on=on_result(lambda answer: answer["text"] == ""),
        cost=lambda answer: answer["tokens"],
        cost_limit=250,
        key_arg="idempotency_key",
    )
    def complete(prompt: str, idempotency_key: str | None = None) -> dict[str, Any]:
        assert idempotency_key is not None
        keys.append(idempotency_key)
        return {"text": "", "tokens": 100}

    assert complete("hello")["tokens"] == 100
    assert len(keys) == 3  # 300 tokens: the third reached the limit
    assert len(set(keys)) == 1
    complete("hello")
    assert len(set(keys)) == 2


def test_24_failure_rate_and_slow_calls_open_the_breaker_not_only_failures_in_a_row(house: House) -> None:
    rate = Dependency("rate", breaker=Breaker(failure_rate=0.4, min_calls=10))
    turns = iter([ConnectionResetError(), 0.1] * 20)
    script = Script(house.clock, *turns)

    @house.poet(retries=0, dependency=rate, name="rate")
    def every_other() -> int:
        return script()

    for _ in range(12):
        with suppress(ConnectionResetError, CircuitOpen):
            every_other()
    assert every_other.poet.status()["dependency"]["breaker"] == "open"

    slow = Dependency("slow", breaker=Breaker(slow_after=1.0, slow_rate=0.5, min_calls=10))

    @house.poet(retries=0, dependency=slow, timeout=60.0, name="slow")
    def crawls() -> None:
        house.clock.sleep(5.0)

    for _ in range(10):
        crawls()
    with pytest.raises(CircuitOpen):
        crawls()
