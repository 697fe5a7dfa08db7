"""Recorded traffic: what real services answered, and what any fixed choice would have made of it.

The outcome of attempt ``k`` of call ``i`` is fixed by the record, so that all who are compared meet the same traffic.
``recorded/README.md`` tells where it comes from and what it cannot say.
"""

from __future__ import annotations

import csv
import random
import statistics
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal, NamedTuple, cast, get_args

from poet.errors import ConfigurationError, nearest
from poet.model.objective import Objective
from poet.settings import BACKOFF_CAP

Answer = Literal["ok", "error", "hang"]
LATENCY_SHARE = 0.1  # worth of a typical latency as a share of an answer's [1]
ATTEMPT_COST = 0.03  # worth of one more request [1]
MOST_RETRIES = 5  # of the fixed choices that hindsight looks at
TIMEOUTS = 60  # of the fixed choices that hindsight looks at


class Sample(NamedTuple):
    """One recorded answer."""

    series: str  # whose series it belongs to; a retry meets the next of the same one
    seconds: float  # from request to answer, or as long as the recording client waited, > 0 [s]
    outcome: Answer


class Choice(NamedTuple):
    """Parameters that stay as they are, in recorded seconds."""

    timeout: float  # of each attempt, > 0 [s]
    retries: int  # attempts after the first, >= 0
    backoff: float = 0.0  # longest pause before the second attempt; doubled for each further one, >= 0 [s]


class Result(NamedTuple):
    """What became of one call, in recorded seconds."""

    success: bool
    seconds: float
    requests: int


@dataclass(frozen=True, slots=True)
class Recording:
    """What was seen of one service, oldest first."""

    name: str
    title: str
    character: str
    source: str
    samples: tuple[Sample, ...]
    speed_up: float = 1.0  # recorded seconds per second of playback, > 0 [1]
    change_at: int | None = None  # sample at which it changes its behaviour
    following: tuple[int, ...] = field(init=False, repr=False)  # for each sample the next one of its series

    def __post_init__(self) -> None:
        if not self.samples:
            raise ConfigurationError(f"recording {self.name!r} has no samples; give at least one")
        if not 0 < self.speed_up < float("inf"):
            raise ConfigurationError(f"speed_up of {self.name!r} must be > 0 and finite, got {self.speed_up!r}")
        object.__setattr__(self, "following", _following(self.samples))

    def at(self, call: int, attempt: int) -> Sample:
        """What attempt ``attempt``, from 0, of call ``call`` meets. The record starts again where it ends.

        Autocorrelation is kept: a retry meets the next sample of the call's own series, not one drawn at random.
        """
        index = call % len(self.samples)
        for _ in range(attempt):
            index = self.following[index]
        return self.samples[index]

    def calls(self, count: int, seed: int) -> range:
        """Numbers of ``count`` calls in a row, > 0, whose beginning the seed chooses.

        Where the record changes its behaviour, the change stands in their middle, give or take a tenth of ``count``.
        """
        if count < 1:
            raise ConfigurationError(f"count must be a whole number >= 1, got {count!r}")
        coin = random.Random(f"{seed} {self.name}")
        if self.change_at is None:
            start = coin.randrange(len(self.samples))
        else:
            start = self.change_at - count // 2 + round(count * coin.uniform(-0.1, 0.1))
            start = max(0, min(start, len(self.samples) - count))
        return range(start, start + count)

    @property
    def typical(self) -> float:
        """The median of the recorded answers [s]."""
        answered = [sample.seconds for sample in self.samples if sample.outcome == "ok"]
        if not answered:
            raise ConfigurationError(f"recording {self.name!r} holds no answer, so that no latency is typical of it")
        return statistics.median(answered)

    def objective(self, speed_up: float = 1.0) -> Objective:
        """What a call is worth: an answer 1, a typical latency 0.1 less, a further request .03 less.

        speed_up: 1 counts in recorded seconds, ``self.speed_up`` in seconds of playback; the utility is the same.
        """
        return Objective(latency_cost=LATENCY_SHARE * speed_up / self.typical, attempt_cost=ATTEMPT_COST)


def _following(samples: Sequence[Sample]) -> tuple[int, ...]:
    """Index of the next sample of the same series; its first one follows on its last."""
    ahead: dict[str, int] = {}
    for index, sample in enumerate(samples):
        ahead.setdefault(sample.series, index)
    following = [0] * len(samples)
    for index in range(len(samples) - 1, -1, -1):
        series = samples[index].series
        following[index] = ahead[series]
        ahead[series] = index
    return tuple(following)


def load_recordings(names: Iterable[str] | None = None) -> dict[str, Recording]:
    """The recordings that come with POET, by name; all of them, or those in ``names``.

    Raises ConfigurationError for an unknown name or a record that is damaged.
    """
    folder = files("poet.sim") / "recorded"
    index: dict[str, dict[str, object]] = tomllib.loads((folder / "index.toml").read_text(encoding="utf-8"))
    wanted = list(index) if names is None else list(names)
    for name in wanted:
        if name not in index:
            raise ConfigurationError(f"no recording {name!r}: {nearest(name, index)}")
    return {name: _load(folder, name, index[name]) for name in wanted}


def _load(folder: Traversable, name: str, about: Mapping[str, object]) -> Recording:
    change_at = about.get("change_at")
    return Recording(
        name=name,
        title=str(about["title"]),
        character=str(about["character"]),
        source=str(about["source"]),
        samples=read_samples((folder / f"{name}.csv").read_text(encoding="utf-8"), name),
        speed_up=float(str(about["speed_up"])),
        change_at=change_at if isinstance(change_at, int) else None,
    )


def read_samples(text: str, name: str) -> tuple[Sample, ...]:
    """Samples from lines ``series,seconds,outcome`` with a head. Raises ConfigurationError that names the line.

    >>> read_samples("series,seconds,outcome\\n,0.25,ok\\n", "example")
    (Sample(series='', seconds=0.25, outcome='ok'),)
    """
    return tuple(_sample(row, f"{name}.csv, line {line}") for line, row in enumerate(_rows(text), start=2))


def _rows(text: str) -> Iterator[Mapping[str, str | None]]:
    return iter(csv.DictReader(text.splitlines()))


def _sample(row: Mapping[str, str | None], where: str) -> Sample:
    series, outcome = row.get("series"), row.get("outcome")
    try:
        seconds = float(row.get("seconds") or "")
    except ValueError:
        seconds = 0.0
    if series is None or outcome not in get_args(Answer) or not 0 < seconds < float("inf"):
        raise ConfigurationError(
            f"{where}: expected series, seconds > 0 and an outcome of {', '.join(get_args(Answer))}; got {dict(row)!r}"
        )
    return Sample(series, seconds, cast(Answer, outcome))


def pause(backoff: float, failures: int, cap: float = BACKOFF_CAP) -> float:
    """Mean pause after ``failures`` failed attempts, >= 1 [s]: half of the longest one, as the jitter is full.

    cap: longest pause [s]; a played-back ``BACKOFF_CAP`` is ``speed_up`` times as long in recorded seconds.

    >>> pause(1.0, failures=3)
    2.0
    """
    return min(cap, backoff * 2.0 ** (failures - 1)) / 2


def _attempt(sample: Sample, timeout: float) -> tuple[bool, float]:
    """Whether an attempt with this limit gets the answer, and how long it takes [s]."""
    if sample.outcome == "hang" or sample.seconds > timeout:
        return False, timeout
    return sample.outcome == "ok", sample.seconds


def replay(recording: Recording, call: int, choice: Choice) -> Result:
    """What would have become of call ``call``; pauses have their mean length.

    O(retries). Exact as to the record, without the time that a network and a client add.
    """
    cap = BACKOFF_CAP * recording.speed_up
    total = 0.0
    for attempt in range(choice.retries + 1):
        if attempt:
            total += pause(choice.backoff, attempt, cap)
        success, seconds = _attempt(recording.at(call, attempt), choice.timeout)
        total += seconds
        if success:
            return Result(True, total, attempt + 1)
    return Result(False, total, choice.retries + 1)


def utility(recording: Recording, calls: Sequence[int], choice: Choice, objective: Objective) -> float:
    """Mean utility of a call under a choice that stays as it is; ``objective`` counts in recorded seconds."""
    return statistics.fmean(objective.utility(*replay(recording, call, choice)) for call in calls)


def best_fixed(recording: Recording, calls: Sequence[int], objective: Objective) -> tuple[Choice, float]:
    """The best choice that stays as it is for all of ``calls``, known only afterwards, and its mean utility.

    Timeouts are quantiles of what was recorded, 30 s among them, retries 0 to 5. There is no pause: in a record one
    costs time and changes nothing. O(calls × timeouts × retries).
    """
    best, worth = Choice(30.0, 3), float("-inf")
    for timeout in _timeouts(recording):
        for retries, value in enumerate(_by_retries(recording, calls, timeout, objective)):
            if value > worth:
                best, worth = Choice(timeout, retries), value
    return best, worth


def _timeouts(recording: Recording) -> list[float]:
    seconds = sorted({sample.seconds for sample in recording.samples})
    last = len(seconds) - 1
    return sorted({seconds[round(last * step / (TIMEOUTS - 1))] for step in range(TIMEOUTS)} | {30.0})


def _by_retries(recording: Recording, calls: Sequence[int], timeout: float, objective: Objective) -> list[float]:
    """Mean utility without a pause for 0, 1 … ``MOST_RETRIES`` retries, in one walk through the attempts."""
    totals = [0.0] * (MOST_RETRIES + 1)
    for call in calls:
        index = call % len(recording.samples)
        seconds, success = 0.0, False
        requests = 0
        for retries in range(MOST_RETRIES + 1):
            if not success:
                success, took = _attempt(recording.samples[index], timeout)
                seconds += took
                requests += 1
                index = recording.following[index]
            totals[retries] += objective.utility(success, seconds, requests)
    return [total / len(calls) for total in totals]
