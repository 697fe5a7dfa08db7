"""What is known of one function: how long its attempts take, how they fail, and what retries meet.

Observing is plain Python on small tuples, as it happens for every execution; numpy enters where a block of observations
is folded into the counts, every few dozen executions. Everything that is remembered is either exact in the dump or
computed afresh from what is, so that a learner that was stored and loaded goes on to the bit.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from poet.kernels.online.bins import BINS, FINE, bin_of, position
from poet.kernels.online.drift import lags
from poet.kernels.online.ewma import Ewma, observe_all
from poet.learning.notes import (
    ANSWER,
    CENSORED,
    FORMAT,
    HALF_LIVES,
    KIND,
    MEMORIES,
    RECENT,
    RECORD_KEEP,
    Copy,
    Note,
    mark,
    marked,
    was_shed,
)
from poet.model.execution import Execution, Outcome

if TYPE_CHECKING:
    from poet.kernels.online.hedging import Durations
    from poet.learning.folding import Picture, State, Table

BLOCK = 64  # attempts, or calls, that wait at most until they are folded in
MOST_ATTEMPTS = 16  # of one call that are looked at; the rest repeats what these say
FIRST_ANSWERS = 20  # answers from which the scale of latency is taken

# A function that hedges:
ACCOUNT = 8000.0  # half-life of the memory of how many copies were sent [calls]
DOUBT = 32_000.0  # half-life of what is believed of repeating latency [calls]: without hedges nothing else tests it
_KEPT_AFTER_CHANGE = 16  # single durations: about what the shortest memory holds

_WORSE = 8.0  # ratio of the odds of no answer that the watch looks for: far worse than expected
_WATCH = 4.0  # evidence for it that makes it worth looking at once [nats]
_ALLOWANCE = 0.02  # of the change alarm [nats per call]
_ALARM = 9.0  # evidence that the short memory is right and a long one wrong [nats]
_ALARM_AFTER = 20  # calls that come first
_ALARM_PAUSE = 25  # calls between two alarms
_VERDICTS = (Outcome.ERROR, Outcome.TIMEOUT)  # no answer, and that says something of the service


class Evidence:
    """The memory of one function. Not thread-safe; one owner."""

    __slots__ = (
        "_alarm_level",
        "_block",
        "_copies",
        "_evidence_of",
        "_keeps",
        "_last_alarm",
        "_notes",
        "_picture",
        "_recent",
        "_record_keep",
        "_spent",
        "_state",
        "_table",
        "_watch",
        "answers",
        "calls",
        "limit",
        "longest",
        "near",
        "urgent",
    )

    def __init__(self, *, pace: float = 1.0, record_keep: float = RECORD_KEEP, hedging: bool = False) -> None:
        """pace: divides all half-lives, > 0 [1]; record_keep: of a memory's record per call, in [0, 1).

        hedging: keep what choosing a hedge needs, too: single durations, and how many copies were sent.
        """
        self._keeps = tuple(0.5 ** (pace / half_life) for half_life in HALF_LIVES)
        self._record_keep = record_keep
        self.calls = 0
        self.answers: tuple[float, ...] = ()  # seconds of the first few
        self.longest = 0.0  # seconds that any attempt was waited for
        self.limit = math.inf  # timeout in force [s]
        self.near = 0.0  # single durations from this on are kept [s]
        self.urgent = 0  # 1: surprises, look at once; 2: something changed
        self._block = 0
        self._notes: list[Note] = []
        self._copies: list[Copy] = []
        self._recent: deque[int] | None = deque(maxlen=RECENT) if hedging else None  # marks of first attempts
        self._spent = Ewma()  # copies per call
        self._watch = 0.0
        self._evidence_of = (0.0, 0.0)  # for "far worse than expected", in an answer and in none [nats]
        self._alarm_level = [0.0] * MEMORIES
        self._last_alarm = 0
        self._state: State | None = None
        self._picture: Picture | None = None
        self._table: Table | None = None

    # ------------------------------------------------------------ observing

    def observe(self, execution: Execution) -> None:
        """Note one call. Odd values are left out; nothing raises. A call that was not made is none."""
        if was_shed(execution):
            return
        self.calls += 1
        call = self._block
        self._block += 1
        notes = self._notes
        first = True
        for outcome, seconds, waited, hedge in execution.attempts[:MOST_ATTEMPTS]:
            if outcome == Outcome.SHED:
                continue  # not made
            if hedge:
                self._copied(call, outcome, seconds, waited)
                continue
            if not 0 <= seconds < math.inf:
                first = False
                continue
            bin_ = bin_of(seconds)
            kind = KIND[outcome]
            fine = position(seconds, bin_) if kind == CENSORED else 0
            pause = int(waited * 1000 + 0.5) if 0 < waited < 65 else 65000 if waited >= 65 else 0
            notes.append(Note(call, int(outcome), bin_, fine, pause))
            if first:
                first = False
                self._judge(outcome, kind, bin_ + 1 if fine > FINE // 2 else bin_)
                if self._recent is not None and seconds >= self.near:
                    self._recent.append(mark(seconds, kind == CENSORED))
            if kind == ANSWER and len(self.answers) < FIRST_ANSWERS:
                self.answers += (float(seconds),)
            if seconds > self.longest:
                self.longest = float(seconds)
        if (
            len(notes) >= BLOCK
            or self._block >= BLOCK
            or self._watch > _WATCH
            or len(self._copies) >= BLOCK
            or self._alarmed()
        ):
            self.fold()

    def _copied(self, call: int, outcome: Outcome, seconds: float, waited: float) -> None:
        """Note a hedge: how long it took, and how slow the request was that it copies."""
        if 0 <= seconds < math.inf and 0 <= waited < math.inf:
            bin_ = bin_of(seconds)
            self._copies.append(Copy(call, int(outcome), bin_, position(seconds, bin_), mark(waited)))

    def _judge(self, outcome: int, kind: int, bin_: int) -> None:
        """Watch for change: did any memory expect this first attempt?"""
        if self._table is None:
            return
        likely = self._table[kind][bin_]
        if kind == ANSWER:
            self._watch = max(0.0, self._watch + self._evidence_of[0])
        elif outcome in _VERDICTS:
            self._watch += self._evidence_of[1]
        self._alarm_level = lags(self._alarm_level, likely, allowance=_ALLOWANCE)

    def _alarmed(self) -> bool:
        """Whether a long memory has been so wrong of late that it should go."""
        return (
            max(self._alarm_level) > _ALARM
            and self.calls > _ALARM_AFTER
            and self.calls - self._last_alarm > _ALARM_PAUSE
        )

    # ------------------------------------------------------------ folding

    def fold(self) -> None:
        """Fold what waits into the counts and draw the picture anew."""
        if not self._block and self._picture is not None:
            return
        from poet.learning import folding

        state = self._current()
        if self._alarmed():
            state = folding.restarted(state, [level > _ALARM for level in self._alarm_level])
            self._alarm_level = [0.0] * MEMORIES
            self._last_alarm = self.calls
            self.urgent = 2
            if self._recent is not None:
                self._recent = deque(list(self._recent)[-_KEPT_AFTER_CHANGE:], RECENT)
        if self._watch > _WATCH:
            self.urgent = max(self.urgent, 1)
            self._watch = 0.0
        if self._recent is not None:
            self._spent = observe_all(self._spent, len(self._copies), self._block, half_life=ACCOUNT)
        self._notes = []
        self._copies = []
        self._block = 0
        self._settle(state)

    def _settle(self, state: State) -> None:
        from poet.learning import folding

        self._state = state
        self._picture, self._table = folding.pictured(state)
        missing = 1 - self._picture.weights @ self._picture.answered[:, min(bin_of(self.limit), BINS - 1)]
        now = min(max(float(missing), 1e-3), 0.9)
        worse = _WORSE * now / (1 - now + _WORSE * now)
        self._evidence_of = (math.log((1 - worse) / (1 - now)), math.log(worse / now))

    def picture(self) -> Picture:
        """The picture as of now; it changes nothing."""
        from poet.learning import folding

        if not self._block and self._picture is not None:
            return self._picture
        return folding.pictured(self._current())[0]

    def _current(self) -> State:
        """The state with what waits folded in; it changes nothing."""
        from poet.learning import folding

        state = self._state if self._state is not None else folding.empty()
        if not self._block:
            return state
        return folding.folded(
            state,
            self._notes,
            self._block,
            self._picture,
            self._keeps,
            self._record_keep,
            copies=self._copies,
            doubt=None if self._recent is None else DOUBT,
        )

    @property
    def retried(self) -> tuple[float, float]:
        """Calls seen to retry after an error, and after a timeout."""
        return (0.0, 0.0) if self._state is None else self._state.retried

    def overdrawn(self, share: float) -> float:
        """Copies sent beyond ``share`` per call within memory, as of the last fold; below 0: fewer were sent."""
        newest = 1.0 - math.pow(0.5, 1.0 / ACCOUNT)  # weight of the newest call
        return (self._spent.total - share * self._spent.weight) / newest

    def durations(self) -> Durations:
        """The newest first attempts that took about as long as a hedge waits, or longer, where these are kept."""
        from poet.learning import folding

        return folding.durations(self._recent or ())

    # ------------------------------------------------------------ keeping

    def dump(self) -> tuple[dict[str, Any], bytes]:
        """Scalars, and arrays as bytes."""
        from poet.learning import folding

        facts: dict[str, Any] = {
            "calls": self.calls,
            "answers": list(self.answers),
            "longest": self.longest,
            "limit": self.limit if self.limit < math.inf else None,
            "urgent": self.urgent,
            "block": self._block,
            "notes": len(self._notes),
            "watch": self._watch,
            "levels": self._alarm_level,
            "last_alarm": self._last_alarm,
            "folded": self._state is not None,
        }
        blob = b"".join(FORMAT.pack(*note) for note in (*self._notes, *self._copies))
        if self._copies:
            facts["copies"] = len(self._copies)
        if self._recent is not None:
            facts["near"] = self.near
            facts["spent"] = list(self._spent)
            facts["recent"] = len(self._recent)
            blob += struct.pack(f"<{len(self._recent)}H", *self._recent)
        if self._state is not None:
            state = self._state
            facts["refused"] = list(state.refused)
            facts["retried"] = list(state.retried)
            blob += folding.packed(state)
        return facts, blob

    def load(self, facts: Mapping[str, Any], blob: bytes) -> None:
        """Take up ``dump``. Raises ValueError, KeyError or TypeError where it is not one; half-changed then."""
        from poet.learning import folding

        self.calls = _count(facts["calls"])
        self.answers = tuple(_numbers(facts["answers"], range(FIRST_ANSWERS + 1)))
        self.longest = _numbers([facts["longest"]], range(1, 2))[0]
        self.limit = math.inf if facts["limit"] is None else _numbers([facts["limit"]], range(1, 2))[0]
        self.urgent = _count(facts["urgent"], 2)
        self._block = _count(facts["block"], BLOCK)
        self._watch = _numbers([facts["watch"]], range(1, 2))[0]
        self._alarm_level = _numbers(facts["levels"], range(MEMORIES, MEMORIES + 1))
        self._last_alarm = _count(facts["last_alarm"])
        size = self._load_notes(facts, blob)
        size += self._load_recent(facts, blob[size:])
        if facts["folded"] is True:
            refused = Ewma(*_numbers(facts["refused"], range(2, 3)))
            retried = _numbers(facts["retried"], range(2, 3))
            self._settle(folding.unpacked(blob[size:], refused, (retried[0], retried[1])))
        elif len(blob) != size:
            raise ValueError(f"{len(blob) - size} bytes too many")
        else:
            self._state = self._picture = self._table = None

    def _load_notes(self, facts: Mapping[str, Any], blob: bytes) -> int:
        """Take up the notes at the head of ``blob``; gives the bytes that they took."""
        n_notes = _count(facts["notes"], BLOCK + MOST_ATTEMPTS)
        n_copies = _count(facts.get("copies", 0), BLOCK + MOST_ATTEMPTS)  # states of older releases have none
        size = (n_notes + n_copies) * FORMAT.size
        values = list(FORMAT.iter_unpack(blob[:size]))
        self._notes = [_note(each, self._block) for each in values[:n_notes]]
        self._copies = [_copy(each, self._block) for each in values[n_notes:]]
        if len(values) != n_notes + n_copies:
            raise ValueError(f"{n_notes + n_copies} notes were announced, {len(values)} are there")
        return size

    def _load_recent(self, facts: Mapping[str, Any], blob: bytes) -> int:
        """Take up the single durations at the head of ``blob``; gives the bytes that they took.

        Who does not hedge leaves them; who has begun to since begins with none.
        """
        marks = struct.unpack_from(f"<{_count(facts.get('recent', 0), RECENT)}H", blob)
        spent = Ewma(*_numbers(facts.get("spent", (0.0, 0.0)), range(2, 3)))
        for each in marks:
            marked(each)
        [near] = _numbers([facts.get("near", 0.0)], range(1, 2))
        if self._recent is not None:
            self._recent, self._spent, self.near = deque(marks, RECENT), spent, near
        return 2 * len(marks)


def _count(value: object, most: int = 2**53) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"expected a whole number in [0, {most}], got {value!r}")
    return value


def _numbers(values: Iterable[object], length: range) -> list[float]:
    """Finite numbers >= 0."""
    numbers = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ValueError(f"expected a finite number >= 0, got {value!r}")
        numbers.append(float(value))
    if len(numbers) not in length:
        raise ValueError(f"expected {length.start} to {length.stop - 1} numbers, got {len(numbers)}")
    return numbers


def _note(values: tuple[int, ...], block: int) -> Note:
    note = Note(*values)
    endless = note.bin == BINS - 1 and note.position
    if note.call >= block or note.outcome not in KIND or note.bin >= BINS or endless:
        raise ValueError(f"no note of an attempt: {note!r}")
    return note


def _copy(values: tuple[int, ...], block: int) -> Copy:
    copy = Copy(*values)
    _note((*copy[:4], 0), block)
    marked(copy.slow)
    return copy
