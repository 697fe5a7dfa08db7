"""The demo from its options to its report."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from poet import Handle, configure, flush
from poet.demo import outage
from poet.demo.arms import RULES, async_loop, rule_of, sync_loop
from poet.demo.drive import IN_FLIGHT, Lane, drive_async, drive_sync, watched
from poet.demo.progress import Show
from poet.demo.project import begin_afresh
from poet.demo.report import (
    Learned,
    Page,
    as_document,
    difference,
    in_words,
    page_lines,
    score,
    summary_lines,
)
from poet.demo.services import BACKOFF, PREFIX, RETRIES, TIMEOUT, Functions, Web
from poet.model.parameters import ParameterSet
from poet.settings import Settings
from poet.sim.playback import PlaybackServer
from poet.sim.traffic import Choice, Recording, best_fixed, load_recordings, utility

CALLS, FAST_CALLS = 600, 60  # of each arm to each service
CONNECTIONS = 12  # of each arm and each kind of client to begin with
LOOK = 0.25  # between two looks at the progress [s]
INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it
SERVICES = ("catalog", "lookup", "quote", "archive", "chat", "summary")


def main(arguments: list[str]) -> int:
    """Run the demo and print its report; 130 after Ctrl-C. Raises what POET, the store or the server raises."""
    options = _parser().parse_args(arguments)
    calls = options.calls or (FAST_CALLS if options.fast else CALLS)
    try:
        return run(calls=calls, fast=calls <= FAST_CALLS, seed=options.seed, json_file=options.json, out=sys.stdout)
    except KeyboardInterrupt:
        print("interrupted; the playback server is stopped", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="poet demo",
        description="Watch functions tune timeout, retries, backoff and hedges on recorded traffic of real services.",
        epilog="The seed fixes traffic and coins; the timing of a real server and client still varies from run to run.",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the traffic and of all coins (default: 1)")
    parser.add_argument("--calls", type=_count, help=f"calls of each arm to each service (default: {CALLS})")
    parser.add_argument("--fast", action="store_true", help=f"a short run of {FAST_CALLS} calls; too few to judge by")
    parser.add_argument("--json", type=_file, metavar="FILE", help="write the figures there, too")
    return parser


def _file(text: str) -> Path:
    """Refused now rather than after the run."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} must name a file in a folder that exists")
    return path


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"calls must be a whole number >= 1, got {text!r}")
    return count


@dataclass(slots=True)
class Service:
    """One service in all arms, for the progress."""

    recording: Recording
    lanes: Sequence[Lane]
    handle: Handle

    @property
    def name(self) -> str:
        """Of the service."""
        return self.recording.name

    @property
    def done(self) -> int:
        """Calls made so far."""
        return sum(len(lane.results) for lane in self.lanes)

    @property
    def total(self) -> int:
        """Calls to make."""
        return sum(len(lane.numbers) for lane in self.lanes)

    @property
    def live(self) -> str:
        """POET's live values, in recorded seconds."""
        return in_words(self.handle.parameters, self.recording.speed_up)


def run(*, calls: int, fast: bool, seed: int, json_file: Path | None, out: TextIO) -> int:
    """Play the traffic to all arms at once and report. The server is stopped however this ends."""
    began = time.monotonic()
    recordings = load_recordings(SERVICES)
    settings = Settings.load(learning="on", seed=seed)
    afresh = begin_afresh(settings, [PREFIX + name for name in (*recordings, *outage.FUNCTIONS)])
    configure(learning="on", seed=seed)
    out.write(_opening(recordings, calls, seed, afresh, settings))
    out.flush()
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=3 * len(recordings) * IN_FLIGHT) as threads:
        try:
            with PlaybackServer(SERVICES) as server:
                played, asked = _play(server, recordings, calls, seed, threads, stop, out)
                trouble = outage.play(server.url, fast=fast, seed=seed)
        finally:
            stop.set()  # the server is gone: threads that still wait for it fail, and begin no other call
    flush()
    pages = [_page(service) for service in played]
    seconds = time.monotonic() - began
    for page in pages:
        out.write("\n" + "\n".join(page_lines(page)) + "\n")
    out.write("\n" + "\n".join(summary_lines(pages)) + "\n")
    out.write("\n" + "\n".join(outage.lines(trouble)) + "\n")
    out.write(_closing(seconds, settings))
    if json_file is not None:
        document = {
            "seed": seed,
            "seconds": seconds,
            "store": settings.store,
            "began_afresh": afresh,
            "requests_at_server": asked,
            "outage": outage.as_document(trouble),
            "functions": {PREFIX + page.recording.name: as_document(page) for page in pages},
        }
        json_file.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return 0


def _play(
    server: PlaybackServer,
    recordings: Mapping[str, Recording],
    calls: int,
    seed: int,
    threads: ThreadPoolExecutor,
    stop: threading.Event,
    out: TextIO,
) -> tuple[list[Service], dict[str, int]]:
    """All arms through all services; what came of it, and what the server counted."""
    webs = {arm: Web(server.url, arm) for arm in (*RULES, "poet")}
    functions = Functions(webs["poet"], recordings)
    services = [
        Service(
            recording,
            [Lane(arm, recording, recording.calls(calls, seed), web) for arm, web in webs.items()],
            functions.handles[name],
        )
        for name, recording in recordings.items()
    ]

    async def everything() -> None:
        try:
            for web in webs.values():
                await web.connect(CONNECTIONS)
            work = [_drive(lane, functions, seed, threads, stop) for service in services for lane in service.lanes]
            with Show(services, out) as look:
                await watched(asyncio.gather(*work), look, LOOK)
        finally:
            stop.set()
            for web in webs.values():
                await web.close()

    asyncio.run(everything())
    asked: dict[str, int] = server.health()["asked"]
    return services, asked


async def _drive(
    lane: Lane, functions: Functions, seed: int, threads: ThreadPoolExecutor, stop: threading.Event
) -> None:
    name = lane.recording.name
    if name in functions.sync:
        sync = functions.sync[name]
        if lane.arm != "poet":
            sync = sync_loop(lane.web, lane.recording, rule_of(lane.arm, lane.recording), seed)
        await drive_sync(lane, sync, threads, stop)
    else:
        asynchronous = functions.asynchronous[name]
        if lane.arm != "poet":
            asynchronous = async_loop(lane.web, lane.recording, rule_of(lane.arm, lane.recording), seed)
        await drive_async(lane, asynchronous)


def _page(service: Service) -> Page:
    recording = service.recording
    objective = recording.objective()
    results = {lane.arm: lane.in_order for lane in service.lanes}
    numbers = service.lanes[0].numbers
    best, best_utility = best_fixed(recording, numbers, objective)
    return Page(
        recording=recording,
        first=numbers[0] % len(recording.samples),
        count=len(numbers),
        best=best,
        best_utility=best_utility,
        replayed=utility(recording, numbers, Choice(TIMEOUT, RETRIES, BACKOFF), objective),
        scores={arm: score(each, objective, best_utility) for arm, each in results.items()},
        against={arm: difference(results["poet"], results[arm], objective) for arm in RULES},
        learned=_learned(service.handle),
    )


def _learned(handle: Handle) -> Learned:
    versions: list[ParameterSet] = handle.versions()
    learned = [version for version in versions if version.origin == "learned"]
    return Learned(
        before=versions[0],
        after=handle.parameters,
        changes=len(learned),
        reason=learned[-1].reason if learned else "",
    )


def _opening(recordings: Mapping[str, Recording], calls: int, seed: int, afresh: bool, settings: Settings) -> str:
    store = settings.store.removeprefix("sqlite:///")
    start = (
        f"POET begins with the same values as the others; its record goes to {store}."
        if afresh
        else f"{store} holds other functions, so nothing in it is deleted: POET goes on from what it learned before, "
        "if it did."
    )
    return (
        f"{len(recordings)} services, {calls} calls to each from each of three arms, seed {seed}. A real HTTP server\n"
        "plays back what real services answered; each arm meets the same answers in the same order.\n"
        f"{start}\n"
        "All times below are recorded seconds. A retry meets the next recorded answer of the same client, so failures\n"
        "come in the bursts in which they were recorded. An answer is worth 1, a typical latency costs 0.1, a further\n"
        "request 0.03.\n\n"
    )


def _closing(seconds: float, settings: Settings) -> str:
    return (
        f"\nThat took {seconds:.0f} s. Each of POET's changes is a version with its reason; `poet status` lists the\n"
        f"functions, `poet explain {PREFIX}quote` and `poet history {PREFIX}quote` say why (in seconds as played).\n"
    )
