"""What the demo says at its end: every arm on the same traffic, what was learned, and where POET was not better."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from poet.demo.services import PREFIX
from poet.model.objective import Objective
from poet.model.parameters import ParameterSet
from poet.sim.traffic import Choice, Recording, Result

ARMS = {
    "fixed": "fixed: 30 s, 3 retries",
    "rule": "usual rule: 1.5 × p99",
    "poet": "POET",
}
LEVEL = 1.96  # standard errors on each side of a 95 % interval
BLOCK = 20  # neighbouring calls that are taken together, as they share their luck


@dataclass(frozen=True, slots=True)
class Score:
    """How one arm fared, in recorded seconds."""

    success: float  # share of calls with an answer, in [0, 1]
    mean: float  # duration of a call, failed ones too [s]
    p95: float  # [s]
    p99: float  # [s]
    extra: float  # requests beyond the first, per call
    utility: float  # mean per call
    share: float  # of the best fixed choice's utility; 1 is as good


@dataclass(frozen=True, slots=True)
class Difference:
    """POET's utility per call beyond another arm's, on the same calls, with a 95 % interval of ± ``error``."""

    value: float
    error: float

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or, within the interval, ``even``."""
        if abs(self.value) <= self.error:
            return "even"
        return "better" if self.value > 0 else "worse"


@dataclass(frozen=True, slots=True)
class Learned:
    """What POET made of one function."""

    before: ParameterSet
    after: ParameterSet
    changes: int  # versions that it published
    reason: str  # of the last one; empty where it changed nothing


@dataclass(frozen=True, slots=True)
class Page:
    """All that is told of one function."""

    recording: Recording
    first: int  # number of the first call played
    count: int  # calls of each arm
    best: Choice  # in hindsight
    best_utility: float
    replayed: float  # utility of the fixed arm by exact replay, without network and client
    scores: Mapping[str, Score]
    against: Mapping[str, Difference]
    learned: Learned


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of the values do not exceed.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def score(results: Sequence[Result], objective: Objective, best_utility: float) -> Score:
    """Sum up what really happened. objective: in recorded seconds."""
    seconds = [result.seconds for result in results]
    utility = statistics.fmean(objective.utility(*result) for result in results)
    return Score(
        success=statistics.fmean(result.success for result in results),
        mean=statistics.fmean(seconds),
        p95=quantile(seconds, 0.95),
        p99=quantile(seconds, 0.99),
        extra=statistics.fmean(result.requests - 1 for result in results),
        utility=utility,
        share=utility / best_utility if best_utility > 0 else float("nan"),
    )


def difference(ours: Sequence[Result], theirs: Sequence[Result], objective: Objective) -> Difference:
    """Paired by call. Blocks of neighbours stand for the calls, as outages make neighbours alike."""
    gains = [objective.utility(*our) - objective.utility(*their) for our, their in zip(ours, theirs, strict=True)]
    blocks = [statistics.fmean(gains[start : start + BLOCK]) for start in range(0, len(gains), BLOCK)]
    error = LEVEL * statistics.stdev(blocks) / math.sqrt(len(blocks)) if len(blocks) > 1 else float("inf")
    return Difference(statistics.fmean(gains), error)


def span(seconds: float) -> str:
    """A duration for people.

    >>> span(0.00749), span(0.84), span(30.0), span(119.6)
    ('7.5 ms', '840 ms', '30 s', '120 s')
    """
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms" if seconds >= 0.01 else f"{seconds * 1000:.2g} ms"
    return f"{seconds:.0f} s" if seconds >= 99.5 else f"{seconds:.3g} s"


def share(value: float) -> str:
    """A share of the best for people; a negative one says only that.

    >>> share(0.987), share(-4.1)
    ('99 %', 'below 0')
    """
    return "below 0" if value < 0 else f"{value:.0%}".replace("%", " %")


def page_lines(page: Page) -> list[str]:
    """One function's part of the report."""
    recording = page.recording
    speed = (
        f"{recording.speed_up:g} times faster"
        if recording.speed_up >= 1
        else f"{1 / recording.speed_up:g} times slower"
    )
    lines = [
        f"{recording.name} – {recording.character}",
        f"  {recording.source}; played {speed} than recorded",
        f"  {'':<24}{'success':>9}{'mean':>9}{'p95':>9}{'p99':>9}{'extra':>7}{'utility':>9}{'of best':>9}",
    ]
    for arm, title in ARMS.items():
        row = page.scores[arm]
        success = f"{row.success:.1%}".replace("%", " %")
        lines.append(
            f"  {title:<24}{success:>9}{span(row.mean):>9}{span(row.p95):>9}{span(row.p99):>9}"
            f"{row.extra:>7.2f}{row.utility:>9.3f}{share(row.share):>9}"
        )
    lines.append(
        f"  best fixed choice, known only afterwards: timeout {span(page.best.timeout)}, "
        f"{_counted(page.best.retries, 'retry', 'retries')}: utility {page.best_utility:.3f}"
    )
    lines.append(f"  {learned_sentence(page.learned, recording)}")
    lines.append(f"  {verdict_sentence(page.against)}")
    lines.append(f"  Look further: poet explain {PREFIX}{recording.name}")
    return lines


def learned_sentence(learned: Learned, recording: Recording) -> str:
    """What was learned, in recorded seconds."""
    old = in_words(learned.before, recording.speed_up)
    if not learned.changes:
        return f"POET learned nothing that pays: it stays with {old}."
    times = "one change" if learned.changes == 1 else f"{learned.changes} changes"
    return f"POET learned, in {times}: {old} → {in_words(learned.after, recording.speed_up)}."


def in_words(parameters: ParameterSet, speed: float) -> str:
    """All that is tuned of a function, in recorded seconds. speed: of the playback.

    >>> in_words(ParameterSet(values_={"timeout": 1.5, "retries": 1, "backoff": 0.01}), 2.0)
    'timeout 3 s, 1 retry, backoff 20 ms'
    """
    told = [
        f"timeout {span(parameters.number('timeout') * speed)}",
        _counted(int(parameters.number("retries")), "retry", "retries"),
        f"backoff {span(parameters.number('backoff') * speed)}",
    ]
    if "hedges" in parameters:  # one that may be hedged at all
        copies, delay = int(parameters.number("hedges")), span(parameters.number("hedge_delay") * speed)
        told.append(f"{_counted(copies, 'hedge', 'hedges')} after {delay}" if copies else "no hedge")
    return ", ".join(told)


def verdict_sentence(against: Mapping[str, Difference]) -> str:
    """Whether POET was better or worse than each of the others."""
    told = [
        f"{_WORD[gain.verdict]} {ARMS[arm].partition(':')[0]} ({gain.value:+.3f} ± {gain.error:.3f})"
        for arm, gain in against.items()
    ]
    return f"Utility per call: {', '.join(told)}."


_WORD = {"better": "better than", "worse": "WORSE than", "even": "no different from"}


def _counted(count: int, one: str, many: str) -> str:
    return f"1 {one}" if count == 1 else f"{count} {many}"


def summary_lines(pages: Sequence[Page]) -> list[str]:
    """All functions in a few lines."""
    lines = ["all functions – mean utility per call, and as a share of the best fixed choices"]
    best = statistics.fmean(page.best_utility for page in pages)
    for arm, title in ARMS.items():
        mean = statistics.fmean(page.scores[arm].utility for page in pages)
        extra = statistics.fmean(page.scores[arm].extra for page in pages)
        lines.append(f"  {title:<24}{mean:>9.3f}{share(mean / best):>9}   {extra:.2f} extra requests per call")
    replayed = statistics.fmean(page.replayed for page in pages)
    met = statistics.fmean(page.scores["fixed"].utility for page in pages)
    lines.append(
        f"  The best is reckoned from the record alone. What real HTTP costs: fixed gets {met:.3f} here,"
        f" {replayed:.3f} by the record."
    )
    for arm in (arm for arm in ARMS if arm != "poet"):
        counted = {word: [page.recording.name for page in pages if page.against[arm].verdict == word] for word in _WORD}
        told = [f"{_WORD[word]} it for {', '.join(names)}" for word, names in counted.items() if names]
        lines.append(f"  against {ARMS[arm].partition(':')[0]}, POET is {'; '.join(told)}")
    return lines


def as_document(page: Page) -> dict[str, object]:
    """One function's part for programs, in recorded seconds."""
    learned = page.learned
    return {
        "character": page.recording.character,
        "source": page.recording.source,
        "speed_up": page.recording.speed_up,
        "first_call": page.first,
        "calls": page.count,
        "best_fixed": {**page.best._asdict(), "utility": page.best_utility},
        "fixed_replayed": page.replayed,
        "arms": {arm: _plain(asdict(row)) for arm, row in page.scores.items()},
        "poet_against": {arm: _plain({**asdict(gain), "verdict": gain.verdict}) for arm, gain in page.against.items()},
        "learned": {
            "changes": learned.changes,
            "before": _in_recorded_seconds(learned.before, page.recording),
            "after": _in_recorded_seconds(learned.after, page.recording),
            "reason": learned.reason,
        },
    }


def _plain(figures: Mapping[str, object]) -> dict[str, object]:
    """``figures`` for JSON, which knows no infinity: what cannot be told is null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }


def _in_recorded_seconds(parameters: ParameterSet, recording: Recording) -> dict[str, float]:
    speed = recording.speed_up
    told = {
        "timeout": parameters.number("timeout") * speed,
        "retries": parameters.number("retries"),
        "backoff": parameters.number("backoff") * speed,
    }
    if "hedges" in parameters:
        told["hedges"] = parameters.number("hedges")
        told["hedge_delay"] = parameters.number("hedge_delay") * speed
    return told
