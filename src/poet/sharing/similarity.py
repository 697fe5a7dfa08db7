"""How alike two functions are, source by source, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from poet.model.estimate import Estimate
from poet.model.likeness import MEASURED, Behaviour, Declared, Features, Fingerprint, Told
from poet.sharing.weights import SOURCES, Weights, helps

Rarity = Callable[[int], float]
"""How rare a feature is: its weight, > 0 [1]."""

STRANGERS = {"names": 0.08, "meaning": 0.1, "types": 0.25}  # cosine of two functions that have nothing in common
AT_LARGE = {"names": 0.08, "meaning": 0.0, "types": 0.2, "declared": 0.3, "behaviour": 0.5}
"""Standard deviation of each source's likeness between any two functions: the doubt where it is missing. Meaning: none,
as it reads what names are read from, and most do without."""

SPREADS: dict[str, tuple[float, float, float]] = {
    # standard deviation of what two relatives differ by; of what any two functions do; how much of it is news beside
    # the others: quantiles of one distribution say much the same
    "level": (2.0, 4.2, 1.0),
    "p05": (0.6, 1.0, 0.3),
    "p25": (0.3, 0.6, 0.3),
    "p75": (0.4, 0.65, 0.3),
    "p90": (0.7, 1.3, 0.3),
    "p95": (1.0, 1.4, 0.3),
    "p99": (1.4, 1.7, 0.2),
    "failures": (0.9, 2.2, 1.0),
    "timeouts": (0.9, 2.0, 0.5),
    "refused": (0.9, 2.0, 0.5),
    "rate": (1.5, 3.0, 0.5),
    "day_cos": (0.12, 0.35, 0.7),
    "day_sin": (0.12, 0.35, 0.7),
    "timeout": (0.7, 1.6, 0.7),
    "retries": (0.35, 0.7, 0.5),
    "backoff": (0.8, 1.8, 0.4),
}
KINDS = 1.0  # what common kinds of errors speak for at most, in log odds
FULL = 3.0  # log likelihood ratio at which behaviour has said most of what it can say
MOST_FOR, MOST_AGAINST = 1.5, -4.0  # log likelihood ratio of one number: an odd one cannot outvote all others


class Likeness(NamedTuple):
    """Two functions beside each other."""

    helps: Estimate
    told: tuple[Told, ...]  # in the order of ``SOURCES``

    @property
    def outcome(self) -> tuple[float, ...]:
        """The likenesses as ``weights.updated`` takes them; 0 where a source is missing."""
        return tuple(each.likeness or 0.0 for each in self.told)


def compare(a: Fingerprint, b: Fingerprint, weights: Weights, rarity: Rarity = lambda _: 1.0) -> Likeness:
    """How alike ``a`` and ``b`` are. Symmetric. rarity: of a feature among all that are known."""
    found = {
        "names": names_alike(a.words, b.words, rarity),
        "meaning": meanings_alike(a.meaning, b.meaning),
        "types": types_alike(a.types, b.types, rarity),
        "declared": declared_alike(a, b),
        "behaviour": behaviours_alike(a.behaviour, b.behaviour),
    }
    told = []
    doubts = []
    for k, source in enumerate(SOURCES):
        likeness, doubt, words = found[source]
        if likeness is None:
            doubt = AT_LARGE[source]
        doubts.append(doubt)
        told.append(Told(source, likeness, doubt, weights.mean[1 + k], words))
    estimate = helps(weights, [each.likeness or 0.0 for each in told], doubts)
    return Likeness(estimate, tuple(told))


Said = tuple[float | None, float, str]  # likeness, its standard deviation, in words


def cosine(a: Features, b: Features, rarity: Rarity) -> float:
    """Of two weighted sets, in [0, 1]; 0 where one is empty."""
    left = {number: weight * rarity(number) for number, weight in a}
    right = {number: weight * rarity(number) for number, weight in b}
    size = math.sqrt(sum(x * x for x in left.values()) * sum(x * x for x in right.values()))
    common = sum(x * right[number] for number, x in left.items() if number in right)
    return min(1.0, common / size) if size > 0 else 0.0


def names_alike(a: Features, b: Features, rarity: Rarity) -> Said:
    """By the words of names and docstrings."""
    if not a or not b:
        return None, 0.0, "names: nothing is known of one of them"
    share = cosine(a, b, rarity)
    doubt = 0.35 / math.sqrt(min(len(a), len(b)))
    return share - STRANGERS["names"], doubt, f"names and docstrings: {_how(share, 0.12, 0.3)} ({share:.2f})"


def meanings_alike(a: bytes, b: bytes) -> Said:
    """By an embedding of names and docstrings."""
    if not a or not b or len(a) != len(b):
        return None, 0.0, "meaning: no sentence embedding of both"
    left, right = memoryview(a).cast("b"), memoryview(b).cast("b")
    size = math.sqrt(sum(x * x for x in left) * sum(y * y for y in right))
    share = sum(x * y for x, y in zip(left, right, strict=True)) / size if size else 0.0
    said = f"meaning of names and docstrings: {_how(share, 0.3, 0.5)} ({share:.2f})"
    return max(-1.0, min(1.0, share - STRANGERS["meaning"])), 0.05, said


def types_alike(a: Features, b: Features, rarity: Rarity) -> Said:
    """By parameters and annotations."""
    if not a or not b:
        return None, 0.0, "parameters and types: one of them has none that are known"
    share = cosine(a, b, rarity)
    doubt = 0.5 / math.sqrt(min(len(a), len(b)))
    return share - STRANGERS["types"], doubt, f"parameters and types: {_how(share, 0.2, 0.5)} ({share:.2f})"


def _how(share: float, some: float, much: float) -> str:
    return "much alike" if share >= much else "somewhat alike" if share >= some else "hardly alike"


def declared_alike(a: Fingerprint, b: Fingerprint) -> Said:
    """By the domain and the tunables of their own."""
    votes: list[tuple[float, str]] = []
    if a.domain and b.domain:
        same = a.domain == b.domain
        votes.append((0.6 if same else -0.5, "the same domain" if same else "another domain"))
    if a.tunables and b.tunables:
        share = _tunables(a.tunables, b.tunables)
        names = len({each.name for each in a.tunables} & {each.name for each in b.tunables})
        most = max(len(a.tunables), len(b.tunables))
        votes.append((2 * share - 1, f"{names} of {most} tunables in common, {_how(share, 0.3, 0.7)}"))
    elif a.tunables or b.tunables:
        votes.append((-0.4, "only one has tunables of its own"))
    if not votes:
        return None, 0.0, "domain and tunables: none that both declare"
    mean = sum(vote for vote, _ in votes) / len(votes)
    return mean, 0.25 / math.sqrt(len(votes)), f"declared: {', '.join(words for _, words in votes)}"


def _tunables(a: tuple[Declared, ...], b: tuple[Declared, ...]) -> float:
    """Share of them that have a counterpart, in [0, 1]; one by another name counts a third."""
    total = 0.0
    for these, others in ((a, b), (b, a)):
        total += sum(max((_tunable(x, y) for y in others), default=0.0) for x in these) / len(these)
    return total / 2


def _tunable(a: Declared, b: Declared) -> float:
    if a.kind != b.kind:
        return 0.0
    if a.kind == 2:
        common = len(set(a.options) & set(b.options)) / max(1, len(set(a.options) | set(b.options)))
    else:
        common = _overlap(a.low, a.high, b.low, b.high)
    return common if a.name == b.name else common / 3


def _overlap(low: float, high: float, other_low: float, other_high: float) -> float:
    """What two ranges share of what they cover together; by ratios where all are positive."""
    if min(low, other_low) > 0:
        low, high, other_low, other_high = (math.log(x) for x in (low, high, other_low, other_high))
    covered = max(high, other_high) - min(low, other_low)
    if covered <= 0:
        return 1.0
    return max(0.0, min(high, other_high) - max(low, other_low)) / covered


def behaviours_alike(a: Behaviour | None, b: Behaviour | None) -> Said:
    """By what calls were like, each number weighted by its noise.

    The likelihood that two relatives differ as these do over that of any two functions: what was measured from few
    calls has a wide error, and says next to nothing (Mahalanobis' distance with two covariances).
    """
    if a is None or b is None:
        return None, 0.0, "behaviour: too few calls of one of them"
    total = slack = 0.0
    said: list[tuple[float, str]] = []
    compared = 0
    for name, x, y, dx, dy in zip(MEASURED, a.numbers, b.numbers, a.errors, b.errors, strict=True):
        if x is None or y is None or dx is None or dy is None:
            continue
        compared += 1
        within, between, news = SPREADS[name]
        noise = dx * dx + dy * dy
        apart = x - y
        near, far = within**2 + noise, between**2 + noise
        ratio = 0.5 * (math.log(far / near) + apart**2 * (1 / far - 1 / near))
        ratio = news * min(MOST_FOR, max(MOST_AGAINST, ratio))
        total += ratio
        slack += (news * apart * (1 / far - 1 / near)) ** 2 * noise
        said.append((ratio, _words(name, apart)))
    if a.kinds and b.kinds:
        common = sum(min(share, dict(b.kinds).get(kind, 0.0)) for kind, share in a.kinds)
        total += KINDS * (2 * min(1.0, common) - 1)
        said.append((KINDS * (2 * common - 1), f"{100 * common:.0f} % of failures of the same kinds"))
    if not compared:
        return None, 0.0, "behaviour: nothing was measured of both"
    likeness = math.tanh(total / FULL)
    doubt = max(0.1, (1 - likeness * likeness) * math.sqrt(slack) / FULL)
    said.sort(key=lambda each: -abs(each[0]))
    sure = f"from {_count(min(a.executions, b.executions))} calls at least"
    most = "; ".join(words for _, words in said[:3])
    return likeness, doubt, f"behaviour: {_how((likeness + 1) / 2, 0.4, 0.7)} ({sure}): {most}"


def _count(n: int) -> str:
    return f"{n:,}".replace(",", " ")


WORDS = {
    "level": "typical durations",
    "p05": "the fastest",
    "p25": "the faster",
    "p75": "the slower",
    "p90": "the slow tenth",
    "p95": "the slow twentieth",
    "p99": "the slowest hundredth",
    "failures": "shares of failures",
    "timeouts": "shares of timeouts",
    "refused": "shares of what no retry mends",
    "rate": "calls per hour",
    "day_cos": "load between night and noon",
    "day_sin": "load between morning and evening",
    "timeout": "learned timeouts, relative to durations",
    "retries": "learned retries",
    "backoff": "learned pauses, relative to durations",
}


def _words(name: str, apart: float) -> str:
    within = SPREADS[name][0]
    if abs(apart) <= within:
        return f"{WORDS[name]} alike"
    if name.startswith("day"):
        return f"{WORDS[name]} different"
    ratio = math.exp(min(abs(apart), 50.0))
    return f"{WORDS[name]} {ratio:.2g} times apart" if ratio < 1e4 else f"{WORDS[name]} far apart"
