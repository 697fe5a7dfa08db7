"""What a service was like before it changed, so that it is known again where it comes back.

While nothing speaks of a change, a compact picture of what is believed is put aside now and then. An alarm makes it a
*regime*; regimes that are alike become one, and few are kept. The attempts since the trouble began are compared with
all of them, at the alarm and for some dozen calls after it: where one foretells these so much better than its rivals
(``kernels.online.recurrence``), it is taken up. Its counts join what the longer memories have seen since the alarm; the
two shortest stay without. So they race as always: where it was mistaken for another, it loses to them, or to the next
alarm.

All of this follows from what is folded in, in the same way wherever that happens: processes that learn together need
not tell one another, as whoever folds in what all have seen comes to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from poet.kernels.online import repetition
from poet.kernels.online.bins import BINS
from poet.kernels.online.recurrence import divergence, recurrence
from poet.kernels.online.survival import Array
from poet.learning.checks import count
from poet.learning.gains import Gain
from poet.learning.notes import HALF_LIVES, MEMORIES
from poet.learning.states import CELLS, State

MOST = 4  # regimes that are kept
MISTAKEN = 0.01  # most chance that any of them is taken for what is none of them, see ``recurrence``
SURE = float(np.log(MOST / MISTAKEN))  # evidence for one that is enough [nats]
CONTRADICTED = 12.5  # evidence against the one that was just left: the alarm's [nats]
APART = 2.0  # by how much one must foretell better than each other [nats]
ALIKE = 0.3  # divergence below which two are one: a fifth more latency, or what chance makes of 300 attempts [nats]
MASS = 300.0  # attempts that a regime is worth at most: so its tail can be unlearned
LEAST = 40.0  # attempts that a regime must rest on
FIRST = 5.0  # attempts since the trouble began that may say anything
SETTLED = 60  # calls since the start, or an alarm, after which there is something to put aside
TRIAL = 80  # calls after an alarm within which a regime may be known again
BEGINNING = 16  # calls: a longer block that first speaks of a change was mostly made before it
FRESH = sum(half_life <= 60 for half_life in HALF_LIVES)  # memories that never take up a regime

FADING = 12.0  # half-life of the attempts that speak of a change, until there is an alarm [calls]

CELLS_KEPT = 64  # of a table at most, the fullest ones: simulated services fill 20 to 50

_CELL = np.dtype("<u2")
_CELL_BYTES = _CELL.itemsize + 1
_OCTAVE = 30.0  # steps of a count from 1 + n to 1 + 2 n: kept to 2 %
_NAT = 10.0  # steps of a log posterior; below 25.5 nats less than the greatest none counts
_SIZES = tuple(start.size for start in repetition.PRIOR)


class Beliefs(NamedTuple):
    """What is believed of retries, as log posteriors less their greatest; empty: as before any was seen."""

    errors: bytes = b""
    repeats: bytes = b""

    @classmethod
    def of(cls, state: State) -> Beliefs:
        """Those of ``state``."""
        return cls(
            *(
                b""
                if belief is start
                else np.minimum(_NAT * (belief.max() - belief) + 0.5, 255).astype(np.uint8).tobytes()
                for belief, start in zip((state.errors, state.repeats), repetition.PRIOR, strict=True)
            )
        )

    def into(self, state: State) -> State:
        """``state`` with these instead."""
        errors, repeats = (
            np.frombuffer(belief, np.uint8).reshape(start.shape) / -_NAT if belief else start
            for belief, start in zip(self, repetition.PRIOR, strict=True)
        )
        return state._replace(errors=errors, repeats=repeats)


class Regime(NamedTuple):
    """One that was left."""

    table: bytes
    beliefs: Beliefs
    last: int  # call up to which it was in force
    times: int  # that it was left


class Recalled(NamedTuple):
    """A regime that was known again."""

    call: int  # at which it was
    last: int  # call up to which it had been in force before
    attempts: int  # that it was known by


class Regimes(NamedTuple):
    """All of a function, at rest some hundred bytes each."""

    kept: tuple[Regime, ...] = ()
    calm: bytes = b""  # what is believed, as of the last time that nothing spoke of a change
    calm_beliefs: Beliefs = Beliefs()
    calm_call: int = 0
    since: bytes = b""  # attempts since something does, also for a while after an alarm
    trial: bool = False  # whether there was an alarm, and it is still asked which regime this is
    doubted: bool = False  # whether the last of the kept is what that alarm spoke against
    recalled: Recalled | None = None  # since the last alarm

    def told(self, gain: Gain, *, anew: bool = False) -> Regimes:
        """After the calls behind ``gain``. anew: before them, something else was suspected, or nothing."""
        counts = gain.counts.dense()[-1].astype(float)  # the longest memory has hardly forgotten any of them
        if not anew:
            keep = 1.0 if self.trial else 0.5 ** (gain.calls / FADING)
            return self._replace(since=packed(_bounded(counts + keep * table_of(self.since))))
        # where they sounded an alarm, the shortest memory has taken its place
        return self._replace(since=packed(counts) if gain.fresh or gain.calls <= BEGINNING else b"")

    def rested(self, state: State, call: int) -> Regimes:
        """At ``call`` nothing speaks of a change any more."""
        return self._replace(
            calm=pictured(state), calm_beliefs=Beliefs.of(state), calm_call=call, since=b"", trial=False
        )

    def given_back(self, state: State) -> State:
        """``state`` at an alarm, with what was believed of retries before the trouble began.

        What they met since then was judged by a picture that was out of date.
        """
        return self.calm_beliefs.into(state) if self.calm else state

    def left(self) -> Regimes:
        """After an alarm: what was put aside becomes a regime."""
        rest = self._replace(calm=b"", trial=True, doubted=bool(self.calm), recalled=None)
        if not self.calm:
            return rest
        table, last = table_of(self.calm), self.calm_call
        apart = divergence(_square(table, *(table_of(each.table) for each in self.kept)))
        place = int(np.argmin(apart)) if self.kept else 0
        if self.kept and apart[place] < ALIKE:
            old = self.kept[place]
            both = Regime(packed(_bounded(table + table_of(old.table))), self.calm_beliefs, last, old.times + 1)
            return rest._replace(kept=(*self.kept[:place], *self.kept[place + 1 :], both))
        kept = (*self.kept, Regime(self.calm, self.calm_beliefs, last, 1))
        if len(kept) > MOST:  # of those that never came back the oldest, else the oldest
            gone = min(kept[:-1], key=lambda each: (each.times > 1, each.last))
            kept = tuple(each for each in kept if each is not gone)
        return rest._replace(kept=kept)

    def known(self) -> tuple[Regime, float] | None:
        """The regime that the attempts since the trouble began show, and the evidence for it [nats]; None: none."""
        newest = table_of(self.since)
        if not self.kept or newest.sum() < FIRST:
            return None
        likely, evidence = recurrence(_square(*(table_of(each.table) for each in self.kept)), newest.reshape(3, BINS))
        if self.doubted:
            evidence[-1] -= CONTRADICTED
        place = int(np.argmax(likely))
        second = max(np.delete(likely, place).tolist(), default=-np.inf)
        if evidence[place] < SURE or likely[place] - second < APART:
            return None
        return self.kept[place], float(evidence[place])

    def recalling(self, regime: Regime, call: int) -> Regimes:
        """After ``regime`` was known again at ``call``."""
        attempts = round(float(table_of(self.since).sum()))
        return self._replace(since=b"", trial=False, recalled=Recalled(call, regime.last, attempts))

    # ------------------------------------------------------------ keeping

    def dump(self) -> tuple[dict[str, Any], bytes]:
        """As scalars and bytes."""
        tables = [*(each.table for each in self.kept), self.calm, self.since]
        beliefs = [*(each.beliefs for each in self.kept), self.calm_beliefs]
        facts = {
            "cells": [len(table) // _CELL_BYTES for table in tables],
            "beliefs": [[bool(belief) for belief in each] for each in beliefs],
            "last": [each.last for each in self.kept],
            "times": [each.times for each in self.kept],
            "calm": self.calm_call,
            "trial": self.trial,
            "doubted": self.doubted,
            "recalled": self.recalled,
        }
        return facts, b"".join([*tables, *(belief for each in beliefs for belief in each)])

    @classmethod
    def of(cls, facts: Mapping[str, Any], blob: bytes) -> tuple[Regimes, int]:
        """The inverse of ``dump``, and the bytes that it took. Raises ValueError, KeyError or TypeError."""
        tables, offset = [], 0
        for cells in facts["cells"]:
            end = offset + count(cells, CELLS_KEPT) * _CELL_BYTES
            tables.append(_checked(blob[offset:end], cells))
            offset = end
        beliefs = []
        for there in facts["beliefs"]:
            parts = []
            for has, size in zip(there, _SIZES, strict=True):
                end = offset + (size if has is True else 0)
                parts.append(blob[offset:end])
                if len(parts[-1]) != end - offset:
                    raise ValueError("beliefs of a regime are cut short")
                offset = end
            beliefs.append(Beliefs(*parts))
        *kept, calm, since = tables
        *kept_beliefs, calm_beliefs = beliefs
        if len(kept) > MOST:
            raise ValueError(f"{len(kept)} regimes are more than {MOST}")
        regimes = tuple(
            Regime(table, belief, count(last), count(times))
            for table, belief, last, times in zip(kept, kept_beliefs, facts["last"], facts["times"], strict=True)
        )
        recalled = facts["recalled"]
        if recalled is not None:
            recalled = Recalled(*map(count, recalled))
        return cls(
            regimes,
            calm,
            calm_beliefs,
            count(facts["calm"]),
            since,
            facts["trial"] is True,
            facts["doubted"] is True,
            recalled,
        ), offset


def pictured(state: State) -> bytes:
    """What ``state`` shows, as a table; empty where it rests on too little.

    The memories, the shortest left out, are mixed by their weight, none with more than ``MASS`` attempts.
    """
    weights = repetition.normalised(state.record)[1:]
    counts = state.counts.reshape(MEMORIES, CELLS)[1:].astype(float)
    masses = counts.sum(axis=1)
    if not masses.min() > 0:
        return b""
    worth = weights / weights.sum() * np.minimum(masses, MASS)
    return packed((worth / masses) @ counts) if worth.sum() >= LEAST else b""


def taken_up(state: State, regime: Regime, evidence: float) -> State:
    """``state`` with ``regime`` in its longer memories. evidence: for it [nats]; they enter the race with as much."""
    counts = state.counts.reshape(MEMORIES, CELLS).copy()
    counts[FRESH:] += table_of(regime.table).astype(np.float32)
    record = state.record.copy()
    record[FRESH:] = record.max() + evidence
    return regime.beliefs.into(state._replace(counts=counts.reshape(state.counts.shape), record=record))


def packed(table: Array) -> bytes:
    """A table of counts, (CELLS,): the fullest ``CELLS_KEPT``, each to 2 %, without those of next to nothing."""
    steps = np.minimum(np.rint(_OCTAVE * np.log2(1 + table)), 255).astype(np.uint8)
    cells = np.flatnonzero(steps)
    if len(cells) > CELLS_KEPT:
        cells = np.sort(cells[np.argsort(-table[cells], kind="stable")[:CELLS_KEPT]])
    return cells.astype(_CELL).tobytes() + steps[cells].tobytes()


def table_of(kept: bytes) -> Array:
    """The inverse of ``packed``."""
    n = len(kept) // _CELL_BYTES
    table = np.zeros(CELLS)
    table[np.frombuffer(kept, _CELL, n)] = 2 ** (np.frombuffer(kept, np.uint8, n, n * _CELL.itemsize) / _OCTAVE) - 1
    return table


def checked(table: bytes) -> bytes:
    """``table`` as ``packed`` gives it. Raises ValueError where it is none."""
    cells, rest = divmod(len(table), _CELL_BYTES)
    if rest or cells > CELLS_KEPT:
        raise ValueError(f"{len(table)} bytes are no table of a regime")
    return _checked(table, cells)


def _checked(table: bytes, cells: int) -> bytes:
    if len(table) != cells * _CELL_BYTES:
        raise ValueError("a table of a regime is cut short")
    found = np.frombuffer(table, _CELL, cells).astype(int)
    if not (np.diff(found, prepend=-1, append=CELLS) > 0).all():
        raise ValueError("a table of a regime has no such cells")
    return table


def _square(*tables: Array) -> Array:
    return np.stack(tables).reshape(-1, 3, BINS)


def _bounded(table: Array) -> Array:
    bounded: Array = table * min(1.0, MASS / max(float(table.sum()), MASS))
    return bounded
