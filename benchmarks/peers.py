"""What a call costs under POET and under its peers, each set up as its own guide would for the same job.

    python -m benchmarks.peers

The call succeeds at once, so that only the wrapper is measured: added CPU time of the calling thread, by the method of
``benchmarks.overhead``. Each peer lives in a process of its own, one of which works at a time: no peer's threads, event
loop, signal handlers or warnings meet another's. A slow peer makes fewer calls in a round.

What the figure leaves out: whatever happens in other threads. That is POET's training (``benchmarks.learning`` counts
it), and the larger part of those limits that run the body in a thread: they cost more than stands here.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import sys
import time
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from contextvars import ContextVar
from dataclasses import fields
from functools import partial, wraps
from importlib import import_module as load
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from benchmarks.overhead import (
    CALLS,
    medians,
    nothing,
    nothing_async,
    poet_for,
    suspends_once,
    timed,
    timed_async,
)
from benchmarks.table import Row, show
from poet.app import build
from poet.decorator import bind
from poet.options import Options
from poet.settings import Settings
from poet.stores.memory import MemoryStore

# The bars: what must hold for the benchmark to pass.
MOST_SYNC = 1.0e-6  # added by retry, timeout, recording, training, breaker and budget [s]
MOST_ASYNC = 5.0e-6  # the same and an armed hedge, around a body that suspends once [s]
MOST_UNUSED = 20e-9  # of a feature that a function does not use [s]

TURN = 0.006  # what one case may take of a round [s]
LIMIT = 5.0  # every timeout here [s]
OURS = "POET"
BETWEEN = "between attempts"  # a limit that is looked at when an attempt has failed
FULL, HEDGED = "retry, breaker, budget, recording, training", "retry, breaker, budget, hedge, recording, training"

BODIES: dict[str, Callable[[], Any]] = {
    "sync": nothing,
    "async, never suspends": nothing_async,
    "async, suspends once": suspends_once,
}
SYNC, ASYNC = tuple(BODIES)[:1], tuple(BODIES)[1:]
Decorate = Callable[[Callable[[], Any]], Callable[[], Any]]


class Subject(NamedTuple):
    """One way to wrap a function."""

    features: str
    limit: str  # how the limit of an attempt acts; empty: there is none
    decorate: Decorate
    bodies: tuple[str, ...] = SYNC + ASYNC
    copies: int = 1  # of the body, at most, that it runs per call


class Case(NamedTuple):
    """A subject around one of the bodies."""

    peer: str
    features: str
    limit: str
    body: str


class Cost(NamedTuple):
    """What was found."""

    case: Case
    seconds: float  # added per call


# --- the peers: each imports its own packages, in its own process -----------------------------------------------------


def bare() -> Iterator[Subject]:
    """The body alone: what all are compared with."""
    yield Subject("", "", lambda body: body)


def of_poet() -> Iterator[Subject]:
    import poet as package

    poet, number = poet_for(), count()

    def using(**options: Any) -> Decorate:
        return lambda body: poet(timeout=LIMIT, name=f"measured {next(number)}", **options)(body)

    def dependency() -> package.Dependency:
        return package.Dependency("x", breaker=package.Breaker())

    for limit, bodies in (("told", SYNC), ("cancels", ASYNC)):
        yield Subject("retry, recording", limit, using(), bodies)
        yield Subject("retry, recording, training", limit, using(enable_training=True), bodies)
        yield Subject(FULL, limit, using(enable_training=True, dependency=dependency()), bodies)
    hedged = using(enable_training=True, dependency=dependency(), hedge_delay=1.0)
    yield Subject(HEDGED, "cancels", hedged, ASYNC)


def of_tenacity() -> Iterator[Subject]:
    tenacity = load("tenacity")
    stop = tenacity.stop_after_attempt(4)
    usual = {
        "retry": tenacity.retry_if_exception_type(ConnectionError),
        "wait": tenacity.wait_random_exponential(max=8),
    }
    yield Subject("retry", "", tenacity.retry(stop=stop, **usual))
    yield Subject("retry", BETWEEN, tenacity.retry(stop=stop | tenacity.stop_after_delay(LIMIT), **usual))


def of_stamina() -> Iterator[Subject]:
    stamina = load("stamina")
    yield Subject("retry", BETWEEN, stamina.retry(on=ConnectionError, attempts=4, timeout=LIMIT))


def of_backoff() -> Iterator[Subject]:
    backoff = load("backoff")
    retry = backoff.on_exception(backoff.expo, ConnectionError, max_tries=4)
    yield Subject("retry", "", retry)
    within = backoff.on_exception(backoff.expo, ConnectionError, max_tries=4, max_time=LIMIT)
    yield Subject("retry", BETWEEN, within)


def of_backon() -> Iterator[Subject]:
    backon = load("backon")
    usual: dict[str, Any] = {"exception": ConnectionError, "max_tries": 4}
    yield Subject("retry", "", backon.on_exception(backon.expo, **usual))
    limited = backon.on_exception(backon.expo, attempt_timeout=LIMIT, **usual)
    yield Subject("retry", "thread", limited, SYNC)
    yield Subject("retry", "cancels", limited, ASYNC)
    breaker = backon.BreakerRetrying(backon.expo, breaker=backon.CircuitBreaker(), **usual)
    yield Subject("retry, breaker", "", lambda body: partial(breaker.call, body), SYNC)
    yield Subject("retry, breaker", "", lambda body: partial(breaker.async_call, body), ASYNC)
    hedge = backon.on_hedge(backon.expo, max_hedge=2, timeout=LIMIT, **usual)
    yield Subject("retry, hedge at once", "thread", hedge, SYNC, copies=2)
    yield Subject("retry, hedge at once", "cancels", hedge, ASYNC, copies=2)


def of_redress() -> Iterator[Subject]:
    redress = load("redress")
    decorrelated_jitter = load("redress.strategies").decorrelated_jitter

    def policy(kind: Any, retry: Any, *, breaker: bool = False, **options: Any) -> Decorate:
        # deadline_s is always on: a limit of the whole call, checked between attempts
        usual = {"classifier": redress.default_classifier, "strategy": decorrelated_jitter(max_s=LIMIT)}
        circuit = redress.CircuitBreaker() if breaker else None
        made = kind(retry=retry(max_attempts=4, **usual, **options), circuit_breaker=circuit)
        return lambda body: partial(made.call, body)

    sync, cut = (redress.Policy, redress.Retry), (redress.AsyncPolicy, redress.AsyncRetry)
    for (kind, retry), limit, bodies in ((sync, "thread", SYNC), (cut, "cancels", ASYNC)):
        yield Subject("retry", BETWEEN, policy(kind, retry), bodies)
        yield Subject("retry", limit, policy(kind, retry, attempt_timeout_s=LIMIT), bodies)
        full = policy(
            kind, retry, attempt_timeout_s=LIMIT, breaker=True, budget=redress.Budget(max_retries=20, window_s=60.0)
        )
        yield Subject("retry, breaker, budget", limit, full, bodies)


def of_pyresilience() -> Iterator[Subject]:
    """All in one decorator: the nearest to us."""
    package = load("pyresilience")
    resilient: Any = package.resilient

    retry = package.RetryConfig(max_attempts=4, retry_on=(ConnectionError,))
    breaker, timeout = package.CircuitBreakerConfig(failure_threshold=5), package.TimeoutConfig(seconds=LIMIT)
    yield Subject("retry", "", resilient(retry=retry))
    yield Subject("breaker", "", resilient(circuit_breaker=breaker))
    yield Subject("retry, breaker", "", resilient(retry=retry, circuit_breaker=breaker))
    limited = resilient(retry=retry, timeout=timeout)
    full = resilient(retry=retry, timeout=timeout, circuit_breaker=breaker, retry_budget=package.RetryBudgetConfig())
    for limit, bodies in (("thread", SYNC), ("cancels", ASYNC)):
        yield Subject("retry", limit, limited, bodies)
        yield Subject("retry, breaker, budget", limit, full, bodies)


def of_hyx() -> Iterator[Subject]:
    breaker, timeout = load("hyx.circuitbreaker").consecutive_breaker, load("hyx.timeout").timeout
    again = load("hyx.retry").retry(on=ConnectionError, attempts=3)  # its count leaves out the first
    yield Subject("retry", "", again, ASYNC)
    yield Subject("breaker", "", breaker(), ASYNC)
    yield Subject("retry", "cancels", lambda body: again(timeout(LIMIT)(body)), ASYNC)
    full: Decorate = lambda body: again(breaker()(timeout(LIMIT)(body)))  # noqa: E731
    yield Subject("retry, breaker", "cancels", full, ASYNC)


def of_pybreaker() -> Iterator[Subject]:
    """A breaker; async under Tornado only."""
    pybreaker = load("pybreaker")
    yield Subject("breaker", "", pybreaker.CircuitBreaker(fail_max=5, reset_timeout=60), SYNC)


def of_circuitbreaker() -> Iterator[Subject]:
    circuit = load("circuitbreaker").circuit
    yield Subject("breaker", "", circuit(failure_threshold=5, expected_exception=ConnectionError))


def of_purgatory() -> Iterator[Subject]:
    purgatory = load("purgatory")
    sync, asynchronous = purgatory.SyncCircuitBreakerFactory(), purgatory.AsyncCircuitBreakerFactory()
    yield Subject("breaker", "", sync("x"), SYNC)
    yield Subject("breaker", "", asynchronous("x"), ASYNC)


def of_google() -> Iterator[Subject]:
    """Retries of Google's clients, which hand the remaining seconds on as ``timeout=``."""
    module = load("google.api_core.retry")
    usual: dict[str, Any] = {"predicate": module.if_exception_type(ConnectionError), "initial": 0.1, "maximum": 8.0}
    retry, retry_async = module.Retry(timeout=LIMIT, **usual), module.AsyncRetry(timeout=LIMIT, **usual)
    yield Subject("retry", BETWEEN, retry, SYNC)
    yield Subject("retry", BETWEEN, retry_async, ASYNC)
    told = load("google.api_core.timeout").TimeToDeadlineTimeout(LIMIT)

    # Its clock starts where it decorates, so that its clients decorate anew in each call.
    def anew(decorate: Decorate) -> Decorate:
        def late(body: Callable[[], Any]) -> Callable[[], Any]:
            def takes_timeout(timeout: float) -> Any:
                return body()

            return lambda: decorate(told(takes_timeout))()

        return late

    yield Subject("retry", "told", anew(retry), SYNC)
    yield Subject("retry", "told", anew(retry_async), ASYNC)


def of_hedge_python() -> Iterator[Subject]:
    """Learned hedges, as a transport of httpx: measured around a transport that answers at once."""
    httpx, transport = load("httpx"), load("hedge.transport").HedgedHttpxTransport
    request, answer = httpx.Request("GET", "http://localhost/"), httpx.Response(200)

    def decorate(body: Callable[[], Awaitable[Any]]) -> Callable[[], Any]:
        class Inner:
            async def handle_async_request(self, request: Any) -> Any:
                await body()
                return answer

        return partial(transport(inner=Inner()).handle_async_request, request)

    yield Subject("hedge, budget", "", decorate, ASYNC)


def of_timeout_decorator() -> Iterator[Subject]:
    timeout_decorator = load("timeout_decorator")
    yield Subject("", "signal", timeout_decorator.timeout(LIMIT), SYNC)


def of_wrapt_timeout_decorator() -> Iterator[Subject]:
    timeout = load("wrapt_timeout_decorator").timeout
    yield Subject("", "signal", timeout(LIMIT), SYNC)


def of_func_timeout() -> Iterator[Subject]:
    func_set_timeout = load("func_timeout").func_set_timeout
    yield Subject("", "thread", func_set_timeout(LIMIT), SYNC)


def of_asyncio() -> Iterator[Subject]:
    def decorate(body: Callable[[], Awaitable[Any]]) -> Callable[[], Any]:
        async def limited() -> Any:
            async with asyncio.timeout(LIMIT):
                return await body()

        return limited

    yield Subject("", "cancels", decorate, ASYNC)


def of_three() -> Iterator[Subject]:
    """Three packages, one above the other, as many services have them."""
    tenacity = load("tenacity")
    timeout_decorator = load("timeout_decorator")
    circuit = load("circuitbreaker").circuit

    [limited] = of_asyncio()
    retry = tenacity.retry(
        stop=tenacity.stop_after_attempt(4), retry=tenacity.retry_if_exception_type((ConnectionError, TimeoutError))
    )
    breaker, signal = circuit(failure_threshold=5), timeout_decorator.timeout(LIMIT)
    yield Subject("retry, breaker", "signal", lambda body: retry(breaker(signal(body))), SYNC)
    yield Subject("retry, breaker", "cancels", lambda body: retry(breaker(limited.decorate(body))), ASYNC)


PEERS: dict[str, Callable[[], Iterator[Subject]]] = {
    "bare": bare,
    OURS: of_poet,
    "tenacity": of_tenacity,
    "stamina": of_stamina,
    "backoff": of_backoff,
    "backon": of_backon,
    "redress": of_redress,
    "pyresilience": of_pyresilience,
    "hyx": of_hyx,
    "pybreaker": of_pybreaker,
    "circuitbreaker": of_circuitbreaker,
    "purgatory": of_purgatory,
    "google-api-core": of_google,
    "hedge-python": of_hedge_python,
    "timeout-decorator": of_timeout_decorator,
    "wrapt-timeout-decorator": of_wrapt_timeout_decorator,
    "func-timeout": of_func_timeout,
    "asyncio.timeout": of_asyncio,
    "tenacity + circuitbreaker + a limit": of_three,
}


# --- a process per peer -----------------------------------------------------------------------------------------------


async def prepared(subject: Subject, name: str, body: Callable[[], Any]) -> Callable[[], Any]:
    """``body`` under ``subject``, once it was seen to be called. In a running loop, as some decorators need one.

    Raises RuntimeError where a call does not reach the body, or again and again: a figure would then mean nothing.
    """
    reached = 0
    if inspect.iscoroutinefunction(body):

        @wraps(body)
        async def counted() -> Any:
            nonlocal reached
            reached += 1
            return await body()

    else:

        @wraps(body)
        def counted() -> Any:
            nonlocal reached
            reached += 1
            return body()

    tried = subject.decorate(counted)()
    if inspect.isawaitable(tried):
        await tried
    if not 1 <= reached <= subject.copies:
        raise RuntimeError(f"{name}, {subject.features}: reached the body {reached} times, not {subject.copies}")
    return subject.decorate(body)


def paced(run: Callable[[int], float]) -> Callable[[int], float]:
    """``run`` with as many calls as fit into a turn, warm: the calls double, and those before the last are not counted.

    Warm, as another process has just had the caches.
    """

    def turn(calls: int) -> float:
        end = time.perf_counter() + TURN / 2
        made = 1
        while True:
            seconds = run(made)
            if made == calls or time.perf_counter() > end:
                return seconds
            made = min(2 * made, calls)

    return turn


def serve(peer: str, line: Connection) -> None:
    """A peer's process: tell the cases, then run the one that is asked for, as long as somebody asks.

    The first message is a list of cases, or the reason why the peer cannot be imported.
    """
    warnings.simplefilter("ignore")
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        cases: dict[Case, Callable[[int], float]] = {}
        try:
            for subject in PEERS[peer]():
                for body in subject.bodies:
                    function = loop.run_until_complete(prepared(subject, peer, BODIES[body]))
                    run = timed(function) if body in SYNC else timed_async(function, loop)
                    cases[Case(peer, subject.features, subject.limit, body)] = paced(run)
        except ImportError as error:
            line.send(str(error))
            return
        line.send(list(cases))
        with suppress(EOFError):  # the other end was closed: done
            while True:
                case, calls = line.recv()
                line.send(cases[case](calls))


def ask(line: Connection, case: Case, calls: int) -> float:
    """Seconds per call, from the peer's process."""
    line.send((case, calls))
    answer: float = line.recv()
    return answer


def measured(peers: Iterable[str] = tuple(PEERS)) -> tuple[list[Cost], dict[str, str]]:
    """What each case adds to the bare body, and why peers are missing. Raises EOFError where a peer's process dies."""
    runs: dict[Case, Callable[[int], float]] = {}
    missing: dict[str, str] = {}
    context = get_context("spawn")
    with ExitStack() as stack:
        for peer in dict.fromkeys(("bare", *peers)):
            line, theirs = context.Pipe()
            process = context.Process(target=serve, args=(peer, theirs), name=peer, daemon=True)
            process.start()
            theirs.close()
            stack.callback(process.join, 5.0)
            stack.callback(line.close)
            told = line.recv()
            if isinstance(told, str):
                missing[peer] = told
            else:
                runs.update((case, partial(ask, line, case)) for case in told)
        costs = []
        for body in BODIES:
            of_body = {case: run for case, run in runs.items() if case.body == body}
            cases = {" · ".join(case): case for case in of_body}
            added = medians({name: of_body[case] for name, case in cases.items()})
            costs += [Cost(cases[name], seconds) for name, seconds in added.items() if cases[name].peer != "bare"]
    return sorted(costs, key=lambda cost: cost.seconds), missing


# --- what is not used -------------------------------------------------------------------------------------------------

# Options of which the way of a call that succeeds depends, where a sync function uses them. What it does not use shall
# cost it next to nothing, and costs nothing where the wrapper is made without it.
OPTIONAL = (
    "enable_training",
    "dependency",
    "hedge_delay",
    "deadline",
    "perceive",
    "enforce",
    "enforce_timeout",
    "timeout_arg",
    "key_arg",
    "cost",
)


class Fixed:
    """The values that a wrapper by hand reads."""

    __slots__ = ("timeout", "version")

    def __init__(self) -> None:
        self.timeout, self.version = LIMIT, 1


def by_hand(function: Callable[..., Any], *, same: bool) -> Callable[..., Any]:
    """The least that records a call and tells it its deadline, without retries.

    same: do all that POET promises of a plain function: its values may change while calls run, a shorter deadline of
    the caller's wins, a late answer is marked, executions are numbered, the context knows its last one.
    """
    now = time.monotonic
    deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)
    publish, around = deadline.set, deadline.get
    records: deque[tuple[Any, ...]] = deque(maxlen=10_000)
    append, number = records.append, count().__next__
    note = ContextVar[Any]("last", default=None).set
    holder = [Fixed()]

    @wraps(function)
    def least(*args: Any, **kwargs: Any) -> Any:
        start = now()
        outer = around()
        publish(start + LIMIT)
        try:
            return function(*args, **kwargs)
        finally:
            publish(outer)
            append((start, now()))

    @wraps(function)
    def whole(*args: Any, **kwargs: Any) -> Any:
        values = holder[0]
        start = now()
        limit = start + values.timeout
        outer = around()
        if limit > outer:
            limit = outer
        publish(limit)
        try:
            result = function(*args, **kwargs)
        finally:
            end = now()
            publish(outer)
        record = (number(), start, end, values.version, None if end <= limit else "late")
        append(record)
        note(record)
        return result

    return whole if same else least


def instructions(function: Callable[[], Any]) -> int:
    """Bytecode instructions that a call runs in Python, the body's included; an ``if`` on a local takes three.

    The same in every run: a look at one more feature shows here when it is lost in the noise of the clock.
    """
    run = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal run
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        run += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return run


def unused_rows() -> list[Row]:
    """What features cost that a function does not use: POET's plain wrapper beside one by hand that does as much."""
    agent = build(Settings(store="memory:"), store=MemoryStore(), thread=False)  # no training beside the measurement
    plain = bind(agent)(timeout=LIMIT, name="plain")(nothing)
    least, whole = by_hand(nothing, same=False), by_hand(nothing, same=True)
    runs = {"bare": timed(nothing), "least": timed(least), "whole": timed(whole), "plain": timed(plain)}
    cost = medians(runs, calls=4 * CALLS)
    beyond = medians({name: runs[name] for name in ("whole", "plain")}, calls=4 * CALLS)["plain"]
    steps, more = instructions(whole), instructions(plain) - instructions(whole)
    known = {field.name for field in fields(Options)}
    unused = [name for name in OPTIONAL if name in known]
    each = beyond / len(unused)
    return [
        Row("by hand: closure, two clock readings, deadline, a tuple in a deque", "", f"{1e9 * cost['least']:.0f} ns"),
        Row("by hand: all that POET promises of a plain function", "", f"{1e9 * cost['whole']:.0f} ns"),
        Row(f"POET, without {', '.join(unused)}", "", f"{1e9 * cost['plain']:.0f} ns"),
        Row(
            "… more than by hand, per unused feature",
            f"≤ {1e9 * MOST_UNUSED:.0f} ns",
            f"{1e9 * each:+.1f} ns; {1e9 * beyond:+.0f} ns in all",
            each <= MOST_UNUSED,
        ),
        Row(
            "… bytecode instructions more than by hand, which no noise touches",
            "for comparison",
            f"{more:+d} on {steps}, {more / len(unused):+.1f} per unused feature",
        ),
    ]


# --- telling ----------------------------------------------------------------------------------------------------------


def found(costs: Iterable[Cost], features: str, body: str) -> float:
    [seconds] = [cost.seconds for cost in costs if cost.case[:2] == (OURS, features) and cost.case.body == body]
    return seconds


def beside(costs: Iterable[Cost], body: str, *, acting: bool) -> Row:
    """POET with everything but hedges, and the cheapest peer that has retries and a limit.

    acting: the limit must act while an attempt runs; one that is looked at between two attempts ends none.
    """
    ours = found(costs, FULL, body)
    peers = [
        cost
        for cost in costs
        if cost.case.body == body
        and cost.case.peer != OURS
        and "retry" in cost.case.features
        and cost.case.limit not in ("", BETWEEN if acting else "")
    ]
    kind = "a limit of each attempt" if acting else "a limit of any kind"
    what = f"{body}: the same, beside the {len({cost.case.peer for cost in peers})} peers with retries and {kind}"
    if not peers:
        return Row(what, "below all", "none was measured", False)
    best = min(peers, key=lambda cost: cost.seconds)
    figure = f"{1e6 * ours:.2f} µs; {best.case.peer} ({best.case.limit}) {1e6 * best.seconds:.2f} µs"
    return Row(what, "below all", figure, ours < best.seconds)


def bars(costs: list[Cost]) -> list[Row]:
    """The figures against their bars.

    A sync function is told its limit and not stopped at it, so that its bar counts every limit. An async attempt is
    cancelled at its limit, which needs a task and a timer: a peer that does neither is shown, and is no measure.
    """
    (sync,), once = SYNC, ASYNC[-1]
    full, hedged = found(costs, FULL, sync), found(costs, HEDGED, once)
    most, most_hedged = f"≤ {1e6 * MOST_SYNC:.1f} µs", f"≤ {1e6 * MOST_ASYNC:.1f} µs"
    return [
        Row(f"{sync}: {FULL}, with a limit", most, f"{1e6 * full:.2f} µs", full <= MOST_SYNC),
        beside(costs, sync, acting=False),
        beside(costs, sync, acting=True),
        *(beside(costs, body, acting=True) for body in ASYNC),
        *(beside(costs, body, acting=False)._replace(bar="for comparison", holds=None) for body in ASYNC),
        Row(f"{once}: the same and an armed hedge", most_hedged, f"{1e6 * hedged:.2f} µs", hedged <= MOST_ASYNC),
    ]


def table(costs: Iterable[Cost], missing: dict[str, str]) -> Iterator[str]:
    """A table per body, the cheapest first."""
    for body in BODIES:
        yield f"\n### {body}\n\n| | features | limit | added |\n|---|---|---|---|"
        for case, seconds in costs:
            if case.body == body:
                peer = f"**{case.peer}**" if case.peer == OURS else case.peer
                yield f"| {peer} | {case.features or '–'} | {case.limit or '–'} | {1e6 * seconds:.2f} µs |"
    for peer, reason in missing.items():
        yield f"\n{peer}: not installable here: {reason}"
    yield (
        "\nLimits: *told*, the body knows its remaining seconds; *between attempts*, looked at when one has failed;"
        " *cancels*, the task; *signal*, SIGALRM, in the main thread only; *thread*, the body runs in another one."
    )


def run() -> list[Row]:
    """Measure everything; the figures against their bars, then every peer's."""
    costs, missing = measured()
    rows = [
        Row(f"{body} · {case.peer}: {case.features or '–'}; limit: {case.limit or '–'}", "", f"{1e6 * seconds:.2f} µs")
        for body in BODIES
        for case, seconds in costs
        if case.body == body
    ]
    absent = [Row(peer, "", f"not installable here: {reason}") for peer, reason in missing.items()]
    return [*bars(costs), *unused_rows(), *rows, *absent]


def main() -> int:
    """Measure, tell all, and fail where a bar is missed."""
    costs, missing = measured()
    print("\n".join(table(costs, missing)))
    return 0 if show("Beside the peers", [*bars(costs), *unused_rows()]) else 1


if __name__ == "__main__":
    sys.exit(main())
