"""What relatives have learned, as the prior of a function that has hardly been called: a mixture that calls outweigh.

A relative lends a table of its attempts and its beliefs about retries, both in the learner's own statistics. Each is
tried at several time scales, as two functions may do the same in other units, and at several weights, as nobody knows
how alike two are. Every such part foretells the function's own attempts with a closed form (the bins' hazards are
Dirichlet, so that the attempts' marginal likelihood is a product of gamma functions); so does "nobody helps", the
learner's own weak prior. Bayes' rule then says how much each counts: the wrong ones die within some calls, and nothing
is to be kept but the own attempts. A picture gets one row more for each part that is left.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online import repetition, survival
from poet.kernels.online.bins import BINS
from poet.kernels.online.survival import ANSWER, CENSORED, ERROR, PRIOR_WEIGHT, Array
from poet.learning import regimes
from poet.learning.checks import number
from poet.learning.states import CELLS, State

if TYPE_CHECKING:
    from poet.learning.folding import Picture

MOST = 12  # relatives that are heard
TOGETHER = 0.3  # chance that all of them together say it best, where somebody helps
OUTWEIGHED = 400  # own calls after which they are heard no more
WEIGHTS = (6.0, 30.0, 120.0)  # attempts that a relative may count as ...
OFTEN = (0.3, 0.4, 0.3)  # ... and how likely each of these is beforehand
RETRIED = 12.0  # retried calls that its beliefs about retries may count as
LEAST_DOUBT = 0.1  # chance that nobody helps, at least, whatever is said of likeness
NEAR, FAR = 0.4, 4.0  # spreads of the ratio of two relatives' durations, in log units: half of them each
AROUND = 6  # time scales, in bins, on both sides of where the own answers lie, that are tried
MOST_PARTS = 12  # rows of a picture
LEAST_PART = 1e-3  # weight of one that is worth its row
_STEP = math.log(1.25)  # of a bin, in log units


class Lent(NamedTuple):
    """What one function has learned, in a form that another can use."""

    source: str  # who: the full name with its number
    helps: float  # how probable it is that this helps, before any call, in [0, 1]
    table: bytes  # of attempts, as ``regimes.packed`` has it
    beliefs: regimes.Beliefs
    retried: float  # calls that the beliefs rest on

    def told(self) -> dict[str, Any]:
        """For a dump."""
        parts = (self.table, *self.beliefs)
        return {
            "source": self.source,
            "helps": self.helps,
            "retried": self.retried,
            "parts": [base64.b64encode(part).decode("ascii") for part in parts],
        }

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Lent:
        """The inverse of ``told``. Raises ValueError, KeyError or TypeError where it is none."""
        try:
            table, errors, repeats = (base64.b64decode(part, validate=True) for part in told["parts"])
        except binascii.Error as error:
            raise ValueError(f"no table of a relative: {error}") from error
        helps, retried, source = number(told["helps"]), number(told["retried"]), told["source"]
        if not isinstance(source, str) or not 0 <= helps <= 1 or retried < 0:
            raise ValueError(f"a relative cannot be {source!r} with {helps!r} and {retried!r}")
        for belief, start in zip((errors, repeats), repetition.PRIOR, strict=True):
            if len(belief) not in (0, start.size):
                raise ValueError(f"{len(belief)} bytes are no belief of {start.size} numbers")
        regimes.checked(table)
        return cls(source, float(helps), table, regimes.Beliefs(errors, repeats), float(retried))


def lent(state: State, source: str, helps: float) -> Lent | None:
    """What ``state`` can lend; None: it rests on too few attempts."""
    table = regimes.pictured(state)
    return Lent(source, helps, table, regimes.Beliefs.of(state), float(sum(state.retried))) if table else None


class Heard(NamedTuple):
    """What relatives come to after the own calls."""

    weights: Sequence[float]  # by relative: the chance that it is the one to go by
    nobody: float  # the chance that none is
    picture: Picture
    retried: float  # retried calls that their beliefs count as
    helped: Sequence[float]  # by relative: how probable the own calls make it that it helps, even odds before them

    def words(self, sources: Sequence[str]) -> str:
        """The relatives that count most, in words."""
        ranked = sorted(zip(self.weights, sources, strict=True), reverse=True)
        said = ", ".join(f"{source} ({weight:.0%})" for weight, source in ranked[:3] if weight >= 0.05)
        return f"as other functions have learned: {said or 'several alike'}"


def given_back(each: Lent) -> Lent:
    """That it was there, without what it said."""
    return each._replace(helps=0.0, table=b"", beliefs=regimes.Beliefs(), retried=0.0)


class _Voice(NamedTuple):
    """A relative, or all of them together, made ready to be heard."""

    table: Array  # (3, BINS) of attempts
    helps: float
    begun: tuple[Array, Array]  # what it says of retries: log chances
    retried: float


def heard(picture: Picture, state: State, relatives: Sequence[Lent]) -> Heard:
    """``picture``, of the own ``state``, with one row more for each relative and scale that foretells the own calls.

    Beside the single ones stand all of them together: what such functions are like as a rule, where none is a twin.
    """
    own = state.counts.astype(float)
    longest = own[-1]  # has hardly forgotten any call
    voices = [_voice(each) for each in relatives]
    if len(voices) > 1:
        voices.append(_together(voices))
    tables, prior, which = _parts(voices, _middle(longest))
    doubt = max(LEAST_DOUBT, 1 - max(each.helps for each in voices))
    shares = np.array([each.helps for each in voices]) + 1e-9
    if len(voices) > 1:
        shares[-1] = shares[:-1].sum() * TOGETHER / (1 - TOGETHER)
    shares *= (1 - doubt) / shares.sum()
    begun = [*(each.begun for each in voices), repetition.PRIOR]
    seen = state.errors - repetition.PRIOR.errors, state.repeats - repetition.PRIOR.repeats
    said = np.array([_evidence(start, seen) for start in begun])
    evidence = _foretold(tables, longest) + np.log(prior * shares[which]) + said[which]
    nobody = float(_foretold(np.zeros((1, 3, BINS)), longest)[0]) + math.log(doubt) + said[-1]
    top = max(float(evidence.max()), nobody)
    weights, rest = np.exp(evidence - top), math.exp(nobody - top)
    whole = float(weights.sum()) + rest
    weights, rest = weights / whole, rest / whole
    by_voice = np.bincount(which, weights, len(voices))
    odds = by_voice / shares / max(rest / doubt, 1e-300)  # how much better it foretells them than nobody does
    helped = (odds / (1 + odds))[: len(relatives)].tolist()
    by_relative = by_voice[: len(relatives)]
    by_relative = (by_relative + by_voice[len(relatives) :].sum() / len(relatives)).tolist()
    chosen = np.argsort(-weights, kind="stable")[:MOST_PARTS]
    chosen = chosen[weights[chosen] > LEAST_PART]
    if not len(chosen):
        return Heard(by_relative, rest, picture, 0.0, helped)
    kept = weights[chosen] * (1 - rest) / weights[chosen].sum()
    rows = survival.hazards(np.tensordot(picture.weights, own, axes=1) + tables[chosen])
    answered, failed, _ = survival.incidence(*survival.posterior_mean(rows))
    share = np.append(np.bincount(which[chosen], kept, len(voices)), rest).tolist()
    wider = picture._replace(
        hazards=survival.Hazards(*(np.concatenate(pair) for pair in zip(picture.hazards, rows, strict=True))),
        answered=np.concatenate([picture.answered, answered]),
        failed=np.concatenate([picture.failed, failed]),
        weights=np.concatenate([rest * picture.weights, kept]),
        errors=_mixed(share, [start[0] + seen[0] for start in begun]),
        repeats=_mixed(share, [start[1] + seen[1] for start in begun]),
    )
    retried = sum(part * min(each.retried, RETRIED) for part, each in zip(share, voices, strict=False))
    return Heard(by_relative, rest, wider, retried, helped)


def _mixed(shares: Sequence[float], beliefs: Sequence[Array]) -> Array:
    """Probabilities from unnormalised log posteriors, mixed."""
    parts = [share * repetition.normalised(belief) for share, belief in zip(shares, beliefs, strict=True)]
    result: Array = np.sum(parts, axis=0)
    return result


def _voice(each: Lent) -> _Voice:
    return _Voice(regimes.table_of(each.table).reshape(3, BINS), each.helps, _begun(each), each.retried)


def _together(voices: Sequence[_Voice]) -> _Voice:
    """All of them, each at the time scale of their median, and with the same weight."""
    middles = [_middle(each.table) for each in voices]
    known = sorted(middle for middle in middles if middle is not None)
    centre = known[len(known) // 2] if known else 0.0
    table = np.zeros((3, BINS))
    for each, middle in zip(voices, middles, strict=True):
        shift = 0 if middle is None else round(centre - middle)
        table += _moved(each.table, shift) * (100.0 / max(float(each.table.sum()), 1e-9))
    even = [1 / len(voices)] * len(voices)
    begun = (
        np.log(_mixed(even, [each.begun[0] for each in voices])),
        np.log(_mixed(even, [each.begun[1] for each in voices])),
    )
    return _Voice(table, max(each.helps for each in voices), begun, max(each.retried for each in voices))


def _middle(table: Array) -> float | None:
    """The median bin of the answers; None: there are none."""
    answers = np.cumsum(table[ANSWER])
    return float(np.searchsorted(answers, answers[-1] / 2)) if answers[-1] > 0 else None


def _parts(voices: Sequence[_Voice], mine: float | None) -> tuple[Array, Array, npt.NDArray[np.intp]]:
    """Of each voice, scale and weight: counts (n, 3, BINS), prior chances within a voice, and whose it is.

    Scales are tried around where the own answers lie, at ``mine``. The prior of a scale is half that of two that are
    alike, half that of two of which one knows only that they are relatives.
    """
    tables, chances, which = [], [], []
    for place, each in enumerate(voices):
        theirs = _middle(each.table)
        centre = 0 if mine is None or theirs is None else round(mine - theirs)
        scales = np.arange(centre - AROUND, centre + AROUND + 1)
        mass = float(each.table.sum())
        moved = np.stack([_moved(each.table, int(scale)) for scale in scales])
        apart = scales * _STEP
        chance = _STEP * sum(
            0.5 * np.exp(-0.5 * (apart / spread) ** 2) / (spread * math.sqrt(2 * math.pi)) for spread in (NEAR, FAR)
        )
        for size, often in zip(WEIGHTS, OFTEN, strict=True):
            tables.append(moved * (min(size * max(each.helps, 0.1), mass) / mass))
            chances.append(chance * often)
            which.append(np.full(len(scales), place))
    return np.concatenate(tables), np.concatenate(chances) + 1e-12, np.concatenate(which)


def _moved(table: Array, bins: int) -> Array:
    """``table`` on a time axis that is so many bins longer; what falls off at an end stays in the last bin there."""
    moved = np.zeros_like(table)
    place = np.clip(np.arange(BINS) + bins, 0, BINS - 1)
    for row in (ANSWER, ERROR, CENSORED):
        np.add.at(moved[row], place, table[row])
    return moved


def _foretold(tables: Array, own: Array) -> Array:
    """Log marginal likelihood of the ``own`` attempts under priors of these counts: (n, 3, BINS), (3, BINS) -> (n,).

    The prior's centre is found from both together, for "nobody" from the own answers alone: they are used twice there,
    which makes it harder for relatives to be heard.
    """
    mine = survival.hazards(own[None])
    before = survival.hazards(tables)
    prior_answer = survival.hazards(tables + own) if len(tables) > 1 else mine
    answer, error = prior_answer.prior_answer, prior_answer.prior_error
    start = (
        PRIOR_WEIGHT * answer + before.answers,
        PRIOR_WEIGHT * error + before.errors,
        np.maximum(PRIOR_WEIGHT * (1 - answer - error) + before.at_risk - before.answers - before.errors, 1e-6),
    )
    left = np.maximum(mine.at_risk - mine.answers - mine.errors, 0.0)
    told = [mine.answers, mine.errors, left]
    result = _rising(np.add(start[0], start[1]) + start[2], mine.at_risk, -1.0)
    for parameter, count in zip(start, told, strict=True):
        result = result + _rising(parameter, count, 1.0)
    return result


def _rising(start: Array, count: Array, sign: float) -> Array:
    """The sum over bins of ``sign * (log Gamma(start + count) - log Gamma(start))``; count: (1, BINS)."""
    there = count[0] > 0
    if not there.any():
        return np.zeros(len(start))
    part = start[:, there]
    result: Array = sign * (_log_gamma(part + count[:, there]) - _log_gamma(part)).sum(axis=1)
    return result


def _log_gamma(x: Array) -> Array:
    """log Gamma, x > 0, to 1e-8: five steps up by its recurrence, then Stirling's series (Abramowitz & Stegun 6.1.41).

    >>> round(float(_log_gamma(np.array(0.5))), 6)
    0.572365
    """
    steps = x * (x + 1) * (x + 2) * (x + 3) * (x + 4)
    y = x + 5
    series = (y - 0.5) * np.log(y) - y + 0.5 * math.log(2 * math.pi)
    series = series + (1 / 12 - (1 / 360 - 1 / (1260 * y * y)) / (y * y)) / y
    result: Array = series - np.log(steps)
    return result


def _begun(each: Lent) -> tuple[Array, Array]:
    """The relative's beliefs about retries, drawn back until they count as ``RETRIED`` calls: log chances."""
    empty = State(np.zeros((1, CELLS), np.float32), np.zeros(1), *repetition.PRIOR, None, (0.0, 0.0))  # type: ignore[arg-type]
    found = each.beliefs.into(empty)
    keep = min(1.0, RETRIED * max(each.helps, 0.1) / max(each.retried, 1.0))
    errors, repeats = (
        np.log(repetition.normalised(start + keep * (belief - start)) + 1e-12)
        for belief, start in zip((found.errors, found.repeats), repetition.PRIOR, strict=True)
    )
    return errors, repeats


def _evidence(start: Sequence[Array], seen: Sequence[Array]) -> float:
    """Log likelihood of what the own retries have met, under these beliefs."""
    total = 0.0
    for begin, own in zip(start, seen, strict=True):
        if own.any():
            likely = np.log(repetition.normalised(begin)) + own
            total += float(likely.max() + np.log(np.exp(likely - likely.max()).sum()))
    return total
