"""How long a whole call takes: quantiles of the moment it has succeeded, or has ended in any way.

``restart`` gives means; a quantile needs the distribution. An attempt is numbered by how many came before it, and by
how many of these timed out: these took the limit each, the others what errors take. So the moment it begins is known up
to the durations of errors and pauses; their sum is replaced by few points of the same mean and variance. The chances
come from the same recursion as the means, with the same kinds of calls, and the quantile from bisection, for all
candidates at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online.hedging import Ways, race
from poet.kernels.online.restart import World
from poet.kernels.online.survival import KNOTS, WIDTHS, Grid

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

MOST_ERRORS = 0.98  # share of first attempts that err, as in ``restart.outlook``
NEGLIGIBLE = 1e-4  # chance of an attempt that is not worth following
COARSE = 8  # moments of a first survey, by equal ratios
HALVINGS = 4  # of the ratio between two of them
LEAST_SHARE = 0.05  # of calls that is told apart from none
NARROW, WIDE = 0.03, 0.2  # deviation of the beginning, as a share of the time to an answer, for 1 and for 3 points
_POINTS = tuple(np.linspace(-1.0, 1.0, n) / np.linspace(-1.0, 1.0, n).std() for n in (3, 5))  # of mean 0, deviation 1

# Curves are read at the steps of a floating number's own bits, 8 to an octave: a shift finds the place.
_SHIFT = 49
_TINY = 2.0**-17  # [s]; an attempt that is younger has not ended
_FIRST = int(np.array(_TINY).view(np.int64)) >> _SHIFT
_STEPS: Array = (np.arange(_FIRST, _FIRST + 8 * 30, dtype=np.int64) << _SHIFT).view(np.float64)
_GRID = Grid.of(_STEPS)


class Finish(NamedTuple):
    """Quantiles of a call's time; each as the parts of ``restart.Outlook``, or of ``hedging.Hedged`` [s]."""

    succeeded: Array  # by when the share of all calls has succeeded; inf: never
    ended: Array  # by when the share of all calls has ended, however


def finish_times(world: World, timeouts: Grid, bounds: Array, share: float | Array, ways: Ways | None = None) -> Finish:
    """By when ``share`` of all calls have succeeded, and by when as many have ended, for 0 .. n_retries retries.

    timeouts, bounds: as for ``restart.outlook``; ways: as for ``hedging.hedged``, None without hedges.
    share: in (``LEAST_SHARE``, 1), one for all or one per guess, (n,).
    Returns arrays (n_retries + 1, n, n_timeouts), or with ways (n_retries + 1, n, n_ways, n_timeouts).
    Where errors persist, how long a pause took and whether it helped are taken for independent, as everywhere here.
    """
    n, n_timeouts = len(world.repeats), len(timeouts.times)
    n_ways = 1 if ways is None else len(ways.copies)
    guess, way, place = (each.ravel() for each in np.indices((n, n_ways, n_timeouts)))
    calls = Calls.of(world, guess, timeouts.times[place], bounds, ways, way)
    each = np.broadcast_to(np.asarray(share, dtype=float), (n,))[guess]
    shape = (len(bounds) + 1, n, n_timeouts) if ways is None else (len(bounds) + 1, n, n_ways, n_timeouts)
    return Finish(calls.succeeded(each).reshape(shape), calls.ended(each).reshape(shape))


class _Curves(NamedTuple):
    """Distribution functions as straight pieces between the steps."""

    level: Array  # (n_rows, n_steps) where the piece would be at 0 s
    slope: Array  # [1/s]

    @classmethod
    def of(cls, curves: Array) -> _Curves:
        """From curves at the knots, (n_rows, BINS)."""
        low = curves[:, _GRID.knot]
        value = low + _GRID.share * (curves[:, _GRID.knot + 1] - low)
        slope = np.zeros_like(value)
        slope[:, :-1] = np.diff(value) / np.diff(_STEPS)
        return cls(value - slope * _STEPS, slope)

    def read(self, row: Index, seconds: Array) -> Array:
        """At ``seconds``, (..., n_atoms, n), of the curves ``row``, (n_atoms, n); 0 before the first step."""
        inside = np.maximum(seconds, _TINY)
        place = (inside.view(np.int64) >> _SHIFT) - (_FIRST - row * len(_STEPS))
        result: Array = self.level.ravel()[place]
        inside *= self.slope.ravel()[place]
        result += inside
        result *= seconds > _TINY
        return result


def _moments(curves: Array, row: Index, times: Array) -> tuple[Array, Array, Array]:
    """Share that has come by ``times``, and mean [s] and variance [s²] of what has: (n,) each."""
    grid = Grid.of(times)
    mass = np.diff(curves)
    low, high = KNOTS[:-1], KNOTS[1:]
    sums = [np.zeros_like(curves) for _ in range(2)]
    for total, piece in zip(sums, ((low + high) / 2, (low * low + low * high + high * high) / 3), strict=True):
        np.cumsum(mass * piece, axis=-1, out=total[:, 1:])
    start = KNOTS[grid.knot]
    end = start + grid.share * WIDTHS[grid.knot]
    part = grid.share * mass[row, grid.knot]
    share = curves[row, grid.knot] + part
    safe = np.maximum(share, 1e-12)
    mean = (sums[0][row, grid.knot] + part * (start + end) / 2) / safe
    square = (sums[1][row, grid.knot] + part * (start * start + start * end + end * end) / 3) / safe
    return share, mean, np.maximum(square - mean * mean, 0.0)


class _Kind(NamedTuple):
    """Calls of one kind, one per candidate."""

    row: Index  # (n,) of the curves
    weight: Array  # (n,) share of all calls
    error: Array  # (n,) chance that a first attempt errs
    alike: bool = False  # after a timeout an attempt is as slow again


class _Attempt(NamedTuple):
    """Attempts that have as many before them, of which as many timed out."""

    number: int  # attempts before it
    row: Index  # (n,)
    starts: Array  # (n_points, n) when it begins [s]
    gap: Array  # (n,) from one of these to the next [s]
    able: Array  # (n,) chance that it is made, does not err, and may answer in time
    bad: Array  # (n,) that it is made and errs
    late: Array  # (n,) that it is made and runs into the limit


class _Atoms(NamedTuple):
    """Moments at which attempts of one number begin: (n_atoms, n) each."""

    row: Index  # of the curves
    starts: Array  # [s]
    gap: Array  # from one such moment to the next [s]
    chance: Array

    @classmethod
    def of(cls, attempts: Sequence[_Attempt], chances: Sequence[Array]) -> _Atoms:
        """Of attempts and their chances, those left out that are negligible."""
        pairs = [
            (attempt, chance)
            for attempt, chance in zip(attempts, chances, strict=True)
            if float(chance.max()) >= NEGLIGIBLE
        ]
        if not pairs:
            return cls(np.empty((0, 0), dtype=np.intp), *np.empty((3, 0, 0)))
        points = [len(attempt.starts) for attempt, _ in pairs]
        return cls(
            np.repeat([attempt.row for attempt, _ in pairs], points, axis=0),
            np.concatenate([attempt.starts for attempt, _ in pairs]),
            np.repeat([attempt.gap for attempt, _ in pairs], points, axis=0),
            np.repeat([chance / n for (_, chance), n in zip(pairs, points, strict=True)], points, axis=0),
        )


def _weighted(come: Array, chance: Array) -> Array:
    """Sum over atoms of what has come by their chances: (..., n_atoms, n) and (n_atoms, n) -> (..., n)."""
    result: Array = (come * chance).sum(axis=-2)
    return result


class Calls:
    """Calls of many candidates, followed attempt by attempt."""

    def __init__(
        self,
        attempts: Sequence[_Attempt],
        doomed: Callable[[], Iterable[_Attempt]],
        right: _Curves,
        wrong: _Curves,
        limits: Array,
        first: Array,
        retries: int,
    ) -> None:
        """doomed: gives the attempts of calls that fail whatever one does, which matter to when calls end only."""
        self._right, self._wrong = right, wrong  # of attempts that do not err, and of those that do
        self._limits = limits  # (n,) of an attempt [s]
        self._first = first  # (n,) before that next to no call has ended [s]
        self._attempts, self._doomed, self._retries = attempts, doomed, retries
        self._answers = self._atoms(attempts, "able")
        self._last = self._latest(attempts)

    @classmethod
    def of(
        cls,
        world: World,
        guess: Index,
        limits: Array,
        bounds: Array,
        ways: Ways | None = None,
        way: Index | None = None,
    ) -> Calls:
        """One candidate per entry, (n,): in which guess it is followed, its limit [s], and in which of ``ways``.

        bounds: as for ``restart.outlook``, or one column per candidate, (n_retries, n).
        """
        n_guesses = len(world.repeats)
        answered, failed, permanent = world.answered, world.failed, world.permanent
        row = plain = guess
        if ways is not None and way is not None:
            raced = race(world, ways)
            n_ways = len(ways.copies)
            answered = np.concatenate([answered, raced.answered.reshape(n_guesses * n_ways, -1)])
            failed = np.concatenate([failed, raced.failed.reshape(n_guesses * n_ways, -1)])
            permanent = np.concatenate([permanent, raced.permanent.ravel()])
            copied = (ways.copies[way] > 0) & (ways.delays.times[way] < limits)
            row = np.where(copied, n_guesses + guess * n_ways + way, guess)
        error_share = np.minimum(failed[:, -1], MOST_ERRORS)
        right = np.minimum(answered / (1 - error_share)[:, None], 1.0)
        wrong = np.minimum(failed / np.maximum(error_share, 1e-9)[:, None], 1.0)
        doomed = permanent * error_share
        error = (error_share - doomed) / (1 - doomed)
        if bounds.ndim == 1:
            fading = world.fading(bounds)[guess].T
            pauses = np.broadcast_to(bounds[:, None], fading.shape)
        else:
            pauses = bounds if bounds.shape[1] == len(guess) else bounds[:, guess]
            fading = world._replace(persistence=world.persistence[guess]).fading(pauses).T
        alike = world.repeats[guess]
        kinds = (
            _Kind(row, (1 - alike) * (1 - doomed[row]), error[row]),
            _Kind(plain, alike * (1 - doomed[plain]), error[plain], alike=True),
            _Kind(row, (1 - alike) * doomed[row] + alike * doomed[plain], np.ones(len(guess))),
        )
        curves = _Curves.of(right), _Curves.of(wrong)

        def followed(kind: _Kind) -> Iterator[_Attempt]:
            if float(kind.weight.max()) >= NEGLIGIBLE:
                answers, errors = (_moments(curve, kind.row, limits) for curve in (right, wrong))
                yield from _followed(kind, answers, errors, limits, pauses, fading)

        attempts = [attempt for kind in kinds[:2] for attempt in followed(kind)]
        first = np.argmax(answered + failed >= LEAST_SHARE, axis=1)
        first = np.minimum(first[row], first[plain])
        begin = np.maximum(KNOTS[np.maximum(first - 1, 0)], 2 * _TINY)
        return cls(attempts, lambda: followed(kinds[2]), *curves, limits, begin, len(bounds))

    def _latest(self, attempts: Sequence[_Attempt]) -> Array:
        """By when next to all of these have ended: (n,) [s]."""
        made = ((each.able + each.bad + each.late >= NEGLIGIBLE, each.starts[-1] + each.gap) for each in attempts)
        latest: Array = np.max([np.where(kept, start, 0.0) for kept, start in made], axis=0) + self._limits
        return latest

    def _atoms(self, attempts: Sequence[_Attempt], part: str) -> list[_Atoms]:
        groups = [[attempt for attempt in attempts if attempt.number == number] for number in range(self._retries + 1)]
        return [_Atoms.of(group, [getattr(attempt, part) for attempt in group]) for group in groups]

    @cached_property
    def _failures(self) -> tuple[list[_Atoms], list[_Atoms]]:
        """Of attempts that err, and of those that run into the limit."""
        return self._atoms(self._all, "bad"), self._atoms(self._all, "late")

    @cached_property
    def _all(self) -> list[_Attempt]:
        return [*self._attempts, *self._doomed()]

    @cached_property
    def _whole(self) -> Array:
        """Share of the calls that is followed, as some are left out: (n_retries + 1, n)."""
        whole: Array = self._come(np.full((1, 1, len(self._limits)), np.inf), ended=True)[0]
        return whole

    @property
    def longest(self) -> Array:
        """By then next to all calls that can succeed have ended, whatever the retries: (n,) [s]."""
        longest: Array = self._last
        return longest

    def succeeded(self, share: Array) -> Array:
        """By when ``share``, (n,), of all calls have succeeded: (n_retries + 1, n) [s]; inf: never."""
        return self._quantile(share, ended=False)

    def ended(self, share: Array) -> Array:
        """By when ``share``, (n,), of all calls have ended, however: (n_retries + 1, n) [s]."""
        return self._quantile(share, ended=True)

    def ended_by(self, moment: float) -> Array:
        """Share of all calls that have ended by ``moment``, > 0 [s], however: (n_retries + 1, n)."""
        moments = np.full((1, 1, len(self._limits)), moment)
        come: Array = np.minimum(self._come(moments, ended=True)[0] / self._whole, 1.0)
        return come

    def _quantile(self, share: Array, *, ended: bool) -> Array:
        """Where the chance reaches ``share``: a survey of moments that all retries share, then bisection for each."""
        last = (self._latest(self._all) if ended else self._last) * (1 + 1e-9)
        share = share * self._whole if ended else np.broadcast_to(share, (len(self._answers), len(share)))
        first = np.minimum(self._first, 0.5 * last)
        moments = first * (last / first) ** (np.arange(COARSE + 1)[:, None] / COARSE)
        reached = self._come(moments[:, None], ended=ended) >= share  # (COARSE + 1, retries, n)
        never = ~reached[-1]
        upper = np.where(never, COARSE, np.maximum(reached.argmax(axis=0), 1))
        columns = np.arange(len(first))
        low, high = moments[upper - 1, columns], moments[upper, columns]
        for _ in range(HALVINGS + 2 * ended):  # limits are all met at one moment: there the chance jumps
            middle = np.sqrt(low * high)
            over = self._come(middle[None], ended=ended)[0] >= share
            low, high = np.where(over, low, middle), np.where(over, middle, high)
        below, above = self._come(np.stack([low, high]), ended=ended)
        part = np.clip((share - below) / np.maximum(above - below, 1e-12), 0.0, 1.0)
        return np.where(never, last if ended else np.inf, low + part * (high - low))

    def _come(self, moments: Array, *, ended: bool) -> Array:
        """Chance that a call has succeeded, or ended, by ``moments``: (m, 1 or n_retries + 1, n) -> (m, retries, n)."""
        shared = moments.shape[1] == 1
        total = np.zeros((len(moments), len(self._answers), moments.shape[2]))
        for number, answers in enumerate(self._answers):
            if len(answers.row):
                own = moments if shared else moments[:, number:]
                read = self._right.read(answers.row, np.minimum(own[:, :, None] - answers.starts, self._limits))
                total[:, number:] += _weighted(read, answers.chance)
            if not ended:
                continue
            errors, late = (atoms[number] for atoms in self._failures)
            final = moments[:, 0 if shared else number, None]
            if len(errors.row):
                read = self._wrong.read(errors.row, np.minimum(final - errors.starts, self._limits))
                total[:, number] += _weighted(read, errors.chance)
            if len(late.row):
                over = (final - late.starts - self._limits) / np.maximum(late.gap, 1e-9 * self._limits) + 0.5
                total[:, number] += _weighted(np.clip(over, 0.0, 1.0), late.chance)
        return total


def _followed(
    kind: _Kind,
    answers: tuple[Array, Array, Array],
    errors: tuple[Array, Array, Array],
    limits: Array,
    pauses: Array,
    fading: Array,
) -> Iterator[_Attempt]:
    """The attempts of calls of one kind that are worth following.

    answers, errors: chance that an attempt which does not err, or does, has ended by its limit, and of those that have
    mean [s] and variance [s²]; pauses, fading: (n_retries, n).
    """
    within, answer_mean, _ = answers
    wrong, error_mean, error_variance = errors
    n_retries = len(pauses)
    pause_mean = np.concatenate([np.zeros((1, len(limits))), np.cumsum(pauses / 2, axis=0)])
    pause_variance = np.concatenate([np.zeros((1, len(limits))), np.cumsum(pauses**2 / 12, axis=0)])
    after_error = np.zeros((n_retries + 2, len(limits)))  # by how many have timed out
    otherwise = np.zeros_like(after_error)
    otherwise[0] = kind.weight
    again = kind.error
    for number in range(n_retries + 1):
        first_bad, again_bad = otherwise * kind.error, after_error * again
        bad, good, good_again = first_bad + again_bad, otherwise - first_bad, after_error - again_bad
        able = good_again if kind.alike and number else good + good_again
        late = good + good_again - able * within + bad * (1 - wrong)
        most = (otherwise + after_error).max(axis=1).tolist()
        for timed_out in range(number + 1):
            if most[timed_out] < NEGLIGIBLE:
                continue
            erred = number - timed_out
            least = timed_out * limits
            mean = least + erred * error_mean + pause_mean[number]
            deviation = np.sqrt(erred * error_variance + pause_variance[number])
            width = float((deviation / np.maximum(mean + answer_mean, _TINY)).max())
            starts, gap = mean[None], np.zeros_like(mean)
            if width > NARROW:
                points = _POINTS[int(width > WIDE)]
                starts = np.maximum(mean + points[:, None] * deviation, least)
                gap = (points[1] - points[0]) * deviation
            yield _Attempt(number, kind.row, starts, gap, able[timed_out], bad[timed_out], late[timed_out])
        after_error, otherwise = bad * wrong, np.concatenate([np.zeros((1, len(limits))), late[:-1]])
        if number < n_retries:
            again = kind.error + (1 - kind.error) * fading[number]
