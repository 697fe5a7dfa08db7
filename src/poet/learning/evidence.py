"""What is known of one function: how long its attempts take, how they fail, and what retries meet.

Observing is plain Python on small tuples, as it happens for every execution; numpy enters where a block of observations
is folded into the counts, every few dozen executions. Everything that is remembered is either exact in the dump or
computed afresh from what is, so that a learner that was stored and loaded goes on to the bit.
"""

from __future__ import annotations

import math
import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from poet.kernels.online.bins import BINS, EDGES, bin_of, position
from poet.kernels.online.ewma import Ewma
from poet.kernels.pieces import between
from poet.learning.checks import count, number, numbers
from poet.learning.notes import (
    ACCOUNT,
    ANSWER,
    BLOCK,
    CENSORED,
    FAR_FEWER,
    FAR_MORE,
    FIRST_ANSWERS,
    FORMAT,
    KIND,
    LEVELS,
    MEMORIES,
    RECENT,
    RECORD_KEEP,
    SHIFTS,
    WORSE,
    Copy,
    Note,
    mark,
    marked,
    pace_of,
    was_shed,
)
from poet.learning.recent import Recent
from poet.learning.strain import Strain
from poet.model.execution import Attempt, Execution, Outcome

if TYPE_CHECKING:
    from poet.kernels.online.hedging import Durations
    from poet.learning.borrowed import Heard, Lent
    from poet.learning.folding import Picture, Watch
    from poet.learning.gains import Gain
    from poet.learning.news import News
    from poet.learning.regimes import Recalled, Regimes
    from poet.learning.states import Kept, State

MOST_ATTEMPTS = 16  # of one call that are looked at; the rest repeats what these say

_KEPT_AFTER_CHANGE = 16  # single durations: about what the shortest memory holds
_FULL = BLOCK * FORMAT.size  # bytes of notes
_SLACK = 64  # single durations beyond those that count, so that they need not be moved for each

_HEARD = 4.0  # evidence for something having changed that makes it worth counting it exactly [nats]
_WATCH = 6.0  # evidence for "much worse" that makes it worth looking at once [nats]
_ALARM = 12.5  # evidence for a change [nats]: by chance, once in exp(12.5) = 270,000 calls or more seldom, for each
# What is watched is judged by a picture that is itself a guess, the worse the fewer calls it rests on: what looks like
# a change is then mostly that the first calls were no fair sample.
_UNFAIR = 50.0
_LAGS = 22.0  # the same, of the shortest memory against another
_STALE = 2.0  # evidence against a memory that makes it stale once there is an alarm [nats]
_ALARM_AFTER = 20  # calls that come first
_ALARM_PAUSE = 25  # calls between two alarms
_CALM = (0.0,) * LEVELS
_RESTED = 0.25  # share of an alarm's evidence below which nothing speaks of a change [1]
_SLOWLY = 3.0  # that errors have become far fewer is said by every call without one: it counts so many times less
_KINDS_OF_CHANGE = (MEMORIES, MEMORIES + len(SHIFTS) // 2, FAR_MORE, FAR_FEWER, WORSE)  # where each begins
_CUT_OFF = (Outcome.TIMEOUT, Outcome.CANCELLED)
_SHED = Outcome.SHED  # asked of every call

# Of thousands of functions few are busy at a time. A picture takes 35 kB and is drawn in 0.1 ms; it is asked for at
# every look. A watch takes 15 kB and is asked for by every execution; whose has no place here draws one a round.
_PICTURES: Recent[Kept, Picture] = Recent(4)
_WATCHES: Recent[Kept, Watch] = Recent(32)


class Evidence:
    """The memory of one function. Not thread-safe; one owner."""

    __slots__ = (
        "_alert",
        "_answers",
        "_block",
        "_copies",
        "_foreign",
        "_gain",
        "_kept",
        "_last_alarm",
        "_levels",
        "_limit",
        "_notes",
        "_old_marks",
        "_pace",
        "_recall",
        "_recent",
        "_regimes",
        "_spent",
        "_told_alarm",
        "_told_answers",
        "_untold_marks",
        "borrowed",
        "calls",
        "longest",
        "near",
        "strain",
        "urgent",
    )

    def __init__(
        self,
        *,
        pace: float = 1.0,
        record_keep: float = RECORD_KEEP,
        hedging: bool = False,
        strain: Strain | None = None,
        recall: bool = True,
    ) -> None:
        """pace: divides all half-lives, > 0 [1]; record_keep: of a memory's record per call, in [0, 1).

        hedging: keep what choosing a hedge needs, too: single durations, and how many copies were sent.
        strain: is told how first attempts fare, and how many extra requests are sent.
        recall: keep what was believed before a change, and know it again, see ``regimes``.
        """
        self.strain = strain
        self._pace = pace_of(pace, record_keep, hedging=hedging)
        self.calls = 0
        self.longest = 0.0  # seconds that any attempt was waited for
        self.near = 0.0  # single durations from this on are kept [s]
        self.urgent = 0  # 1: surprises, look at once; 2: something changed
        self._limit = math.inf
        self._answers = array("d")
        self._block = 0
        self._notes = b""  # packed ``Note``s; they are so few that to copy them costs no more than to append to them
        self._copies = b""  # packed ``Copy``s
        self._recent: array[int] | None = array("H") if hedging else None  # marks of first attempts, the newest count
        self._spent = Ewma()  # copies per call
        self._levels: Sequence[float] = _CALM  # of what is watched, as of the last fold [nats]
        self._alert = 0.0  # evidence since then for anything having changed, roughly [nats]
        self._last_alarm = 0
        self._kept: Kept | None = None
        self._recall = recall
        self._regimes: Regimes | None = None  # made when first needed, as it loads the maths
        self.borrowed: tuple[Lent, ...] = ()  # what relatives have lent; see ``borrowed``
        self._told()

    def _told(self) -> None:
        """From here on counts as untold."""
        self._gain: Gain | None = None
        self._foreign = self._block  # calls that wait and that others know already
        self._told_alarm = self._last_alarm
        self._told_answers = len(self._answers)
        self._untold_marks = 0
        self._old_marks = RECENT

    @property
    def limit(self) -> float:
        """Timeout in force [s]."""
        return self._limit

    @limit.setter
    def limit(self, seconds: float) -> None:
        if seconds != self._limit:
            self._limit = seconds
            if self.strain is not None:
                self.strain.under(seconds)
            if self._kept is not None:
                _WATCHES.drop(self._kept)

    @property
    def answers(self) -> Sequence[float]:
        """Seconds of the first few answers."""
        return self._answers.tolist()

    # ------------------------------------------------------------ observing

    def observe(self, executions: Iterable[Execution]) -> None:
        """Note calls, oldest first. Odd values are left out; nothing raises. A call that was not made is none."""
        pack, kind_of, recent = FORMAT.pack, KIND, self._recent
        alerts = self._alerts()
        ends = math.inf if self.strain is None else self.strain.ends
        for execution in executions:
            attempts = execution.attempts
            if len(attempts) == 1:  # as most are
                outcome, seconds, waited, hedge = attempts[0]
                if outcome == _SHED:
                    continue
                plain = not hedge and 0 <= seconds < math.inf
            elif was_shed(execution):
                continue
            else:
                plain = False
            self.calls += 1
            call = self._block
            self._block = call + 1
            if plain:
                bin_ = bisect_right(EDGES, seconds)
                kind = kind_of[outcome]
                fine = position(seconds, bin_) if kind == CENSORED else 0
                pause = 0 if not waited > 0 else int(waited * 1000 + 0.5) if waited < 65 else 65000
                self._notes += pack(call, outcome, bin_, fine, pause)
                if alerts is not None and (kind != CENSORED or outcome in _CUT_OFF):
                    alert = self._alert + alerts[BINS * kind + bin_]
                    self._alert = alert if alert > 0.0 else 0.0
                if recent is not None and seconds >= self.near:
                    self._marked(recent, mark(seconds, kind == CENSORED))
                if seconds > self.longest:
                    self.longest = float(seconds)
                if kind == ANSWER and len(self._answers) < FIRST_ANSWERS:
                    self._answers.append(seconds)
            else:
                self._noted(call, attempts, alerts)
            if (
                call + 1 >= BLOCK
                or self._alert > _HEARD
                or self.calls >= ends
                or len(self._notes) >= _FULL
                or len(self._copies) >= _FULL
            ):
                self.fold()
                alerts, recent = self._alerts(), self._recent
                ends = math.inf if self.strain is None else self.strain.ends

    def _noted(self, call: int, attempts: Sequence[Attempt], alerts: array[float] | None) -> None:
        """Note the attempts of a call, however many and however odd."""
        first = True
        for outcome, seconds, waited, hedge in attempts if len(attempts) < MOST_ATTEMPTS else attempts[:MOST_ATTEMPTS]:
            if outcome == _SHED:
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
            pause = 0 if not waited > 0 else int(waited * 1000 + 0.5) if waited < 65 else 65000
            self._notes += FORMAT.pack(call, outcome, bin_, fine, pause)
            if first:
                first = False
                if alerts is not None and (kind != CENSORED or outcome in _CUT_OFF):
                    alert = self._alert + alerts[BINS * kind + bin_]
                    self._alert = alert if alert > 0.0 else 0.0
                if self._recent is not None and seconds >= self.near:
                    self._marked(self._recent, mark(seconds, kind == CENSORED))
            if kind == ANSWER and len(self._answers) < FIRST_ANSWERS:
                self._answers.append(seconds)
            if seconds > self.longest:
                self.longest = float(seconds)

    def _copied(self, call: int, outcome: Outcome, seconds: float, waited: float) -> None:
        """Note a hedge: how long it took, and how slow the request was that it copies."""
        if 0 <= seconds < math.inf and 0 <= waited < math.inf:
            bin_ = bin_of(seconds)
            self._copies += FORMAT.pack(call, outcome, bin_, position(seconds, bin_), mark(waited))

    def _marked(self, recent: array[int], mark_: int) -> None:
        recent.append(mark_)
        self._untold_marks += 1
        if len(recent) >= RECENT + _SLACK:
            del recent[:-RECENT]

    def _alerts(self) -> array[float] | None:
        """By what every first attempt is judged; None: nothing is known yet."""
        kept = self._kept
        return None if kept is None else (_WATCHES.get(kept) or self._watched(kept)).alert

    def _watched(self, kept: Kept) -> Watch:
        found = _WATCHES.get(kept)
        if found is None:
            from poet.learning import folding

            found = _WATCHES.put(kept, folding.watch(self._drawn(kept), self._limit))
        return found

    def _alarmed(self, levels: Sequence[float]) -> bool:
        """Whether ``levels`` say that what was known is out of date."""
        alarm = _ALARM * (1.0 + _UNFAIR / max(self.quiet, 1))
        return (
            (max(levels[MEMORIES:WORSE]) > alarm or max(levels[:MEMORIES]) > _LAGS)
            and self.calls > _ALARM_AFTER
            and self.quiet > _ALARM_PAUSE
        )

    # ------------------------------------------------------------ folding

    def fold(self) -> None:
        """Fold what waits into the counts."""
        if not self._block and self._kept is not None:
            return
        from poet.learning import gains

        between()
        if self.strain is not None:
            self._strained(self.strain)
        gain = self._waiting()
        between()
        untold = gain if not self._foreign else self._waiting(self._foreign)
        suspected = self._suspected()
        levels = _risen(self._levels, gain)
        if self._alarmed(levels):
            stale = [level > _STALE for level in levels[:MEMORIES]]
            gain, untold = gains.restarted(gain, stale), gains.restarted(untold, stale)
            levels = [*_CALM[:WORSE], levels[WORSE]]
            self._sounded(self.calls)
        if levels[WORSE] > _WATCH:
            untold = gains.calmed(untold)
            self.urgent = max(self.urgent, 1)
            levels[WORSE] = 0.0
        self._levels, self._alert = levels, 0.0
        self._settle(gain)
        between()
        self._remember(gain, suspected)
        if untold.calls or untold.fresh:
            self._gain = untold if self._gain is None else gains.composed(self._gain, untold, self._pace)

    def _strained(self, strain: Strain) -> None:
        """Tell how the calls that wait have fared."""
        from poet.learning import folding

        if strain.hear(folding.heard(self._notes, self._copies, self._block, strain.quick), self.calls):
            self.urgent = 2
        if strain.stale(self.calls) and self._kept is not None:
            picture = self._drawn(self._kept)
            weights = picture.weights.copy()
            weights[0] = 0.0  # the shortest memory follows every cluster, and what is usual is what is so for long
            weights /= max(float(weights.sum()), 1e-12)
            usual = weights @ picture.answered if weights.any() else picture.weights @ picture.answered
            strain.knows(usual.tolist(), self._limit, self.calls)

    def _waiting(self, first: int = 0) -> Gain:
        """What the calls that wait, from the ``first`` on, teach."""
        from poet.learning import folding

        watch = None if self._kept is None else self._watched(self._kept)
        return folding.gained(
            self._notes, first, self._block, self._drawn(self._kept), self._pace, copies=self._copies, watch=watch
        )

    def _sounded(self, call: int) -> None:
        """There was an alarm: what was known is out of date."""
        self._last_alarm = call
        self.urgent = 2
        if self._recent is not None:
            del self._recent[:-_KEPT_AFTER_CHANGE]
            self._old_marks = max(0, min(self._old_marks, _KEPT_AFTER_CHANGE - self._untold_marks))
            self._untold_marks = min(self._untold_marks, _KEPT_AFTER_CHANGE)

    def _settle(self, gain: Gain) -> None:
        """Take in what the calls that wait teach, or others' calls."""
        from poet.learning import gains

        self._keep(gains.applied(self._opened(), gain, self._pace))
        if self._recent is not None:
            self._spent = gains.added(self._spent, gain.spent, gain.calls, ACCOUNT)
        self._notes = self._copies = b""
        self._block = self._foreign = 0

    def _suspected(self) -> int:
        """What kind of change the evidence speaks of most, as of the last fold; 0: of none."""
        levels = self._levels
        evidence = [_RESTED, max(levels[:MEMORIES]) / _LAGS]
        evidence += [max(levels[first:end]) / _ALARM for first, end in pairwise(_KINDS_OF_CHANGE)]
        evidence[-1] /= _SLOWLY
        return evidence.index(max(evidence))

    def _remember(self, gain: Gain, suspected: int) -> None:
        """Put aside what is believed, or know it again, after the calls behind ``gain``.

        suspected: the kind of change that was suspected before them.
        """
        if not self._recall or self._kept is None:
            return
        from poet.learning import regimes

        found = self._regimes or regimes.Regimes()
        now = self._suspected()
        if gain.fresh:
            self._keep(found.given_back(self._kept.state()))
            found = found.told(gain, anew=not suspected).left()
        elif found.trial:
            found = found.told(gain)
        elif now:
            found = found.told(gain, anew=now != suspected)
        between()
        if found.trial and self.quiet <= regimes.TRIAL:
            known = found.known()
            if known is not None:
                regime, evidence = known
                self._keep(regimes.taken_up(self._kept.state(), regime, evidence))
                found = found.recalling(regime, self.calls)
                self.urgent = 2
        elif not now and self.quiet > regimes.SETTLED:
            found = found.rested(self._kept.state(), self.calls)
        self._regimes = found

    def _keep(self, state: State | None) -> None:
        from poet.learning.states import Kept

        if self._kept is not None:
            _PICTURES.drop(self._kept)
            _WATCHES.drop(self._kept)
        self._kept = None if state is None else Kept.of(state)

    def _opened(self) -> State:
        from poet.learning import states

        return states.empty() if self._kept is None else self._kept.state()

    def _drawn(self, kept: Kept | None) -> Picture:
        """The picture of what was folded in."""
        from poet.learning import folding, states

        if kept is None:
            return folding.pictured(states.empty())
        return _PICTURES.get(kept) or _PICTURES.put(kept, folding.pictured(kept.state()))

    def picture(self) -> Picture:
        """The picture as of now, with what relatives add to it; it changes nothing."""
        heard = self.heard()
        return self.own_picture() if heard is None else heard.picture

    def own_picture(self) -> Picture:
        """The picture as of now, by the own calls alone."""
        return self._own()[1]

    def heard(self) -> Heard | None:
        """What relatives come to after the own calls; None: none has lent anything, or they are outweighed."""
        if not self.borrowed or self._last_alarm:
            return None
        from poet.learning import borrowed

        there = [each for each in self.borrowed if each.table]
        if not there or self.calls >= borrowed.OUTWEIGHED:
            return None
        state, picture = self._own()
        return borrowed.heard(picture, state, there)

    def _own(self) -> tuple[State, Picture]:
        """The own state and its picture, as of now."""
        from poet.learning import folding, gains

        if not self._block:
            return self._opened(), self._drawn(self._kept)
        state = gains.applied(self._opened(), self._waiting(), self._pace)
        return state, folding.pictured(state)

    def lent(self, source: str, helps: float) -> Lent | None:
        """What another function can use of it; None: it has seen too little."""
        from poet.learning import borrowed

        return borrowed.lent(self._own()[0], source, helps)

    @property
    def retried(self) -> tuple[float, float]:
        """Calls seen to retry after an error, and after a timeout."""
        return (0.0, 0.0) if self._kept is None else self._kept.retried

    @property
    def quiet(self) -> int:
        """Calls since the last alarm, or the start."""
        return self.calls - self._last_alarm

    @property
    def recalled(self) -> Recalled | None:
        """The regime that has been known again since the last alarm; None: none."""
        return None if self._regimes is None else self._regimes.recalled

    def overdrawn(self, share: float) -> float:
        """Copies sent beyond ``share`` per call within memory, as of the last fold; below 0: fewer were sent."""
        newest = 1.0 - math.pow(0.5, 1.0 / ACCOUNT)  # weight of the newest call
        return (self._spent.total - share * self._spent.weight) / newest

    def durations(self) -> Durations:
        """The newest first attempts that took about as long as a hedge waits, or longer, where these are kept."""
        from poet.learning import folding

        return folding.durations(() if self._recent is None else self._recent[-RECENT:])

    # ------------------------------------------------------------ telling others

    @property
    def untold(self) -> bool:
        """Whether there is anything to tell."""
        return self._gain is not None or self._block > self._foreign

    def news(self) -> News:
        """What was seen since this was asked for last, or since ``load``; what waits is folded in before."""
        from poet.learning import gains
        from poet.learning.news import News

        if self._block:
            self.fold()
        untold = min(self._untold_marks, RECENT)
        marks = () if self._recent is None or not untold else self._recent[-untold:]
        news = News(
            gains.NOTHING if self._gain is None else self._gain,
            tuple(self._answers[self._told_answers :]),
            self.longest,
            self._limit,
            self.near,
            self.urgent,
            self._told_alarm,
            self.quiet,
            tuple(marks),
            self._old_marks,
        )
        self._told()
        return news

    def take_in(self, news: News) -> None:
        """Fold in what others have seen, as if these calls came now.

        Where several have found the same change, the first alarm counts: later ones speak of memories that are gone.
        The levels of the alarm add up over all, so that many who watch sound no more false alarms than one.
        """
        from poet.learning import gains

        if self._block:
            self.fold()
        gain, overtaken = news.gain, news.alarm != self._last_alarm
        if overtaken:
            gain = gains.overtaken(gain)
        self.calls += gain.calls
        self._answers = (self._answers + array("d", news.answers))[:FIRST_ANSWERS]
        self.longest = max(self.longest, news.longest)
        self.limit = news.limit
        self.urgent = news.urgent
        suspected = self._suspected()
        levels = _risen(self._levels, gain)
        if self._recent is not None:
            old = RECENT if overtaken else news.old_marks
            self._recent = (self._recent[max(0, len(self._recent) - old) :] + array("H", news.marks))[-RECENT:]
            self.near = news.near
        if gain.fresh:
            self._last_alarm = max(0, self.calls - news.quiet)
        if self._alarmed(levels):
            gain = gains.restarted(gain, [level > _STALE for level in levels[:MEMORIES]])
            levels = [*_CALM[:WORSE], levels[WORSE]]
            self._sounded(self.calls)
        if levels[WORSE] > _WATCH:
            self.urgent, levels[WORSE] = max(self.urgent, 1), 0.0
        self._levels = levels
        self._settle(gain)
        self._remember(gain, suspected)

    # ------------------------------------------------------------ keeping

    def dump(self) -> tuple[dict[str, Any], bytes]:
        """Scalars, and arrays as bytes."""
        from poet.learning import states

        facts: dict[str, Any] = {
            "calls": self.calls,
            "answers": list(self._answers),
            "longest": self.longest,
            "limit": self._limit if self._limit < math.inf else None,
            "urgent": self.urgent,
            "block": self._block,
            "notes": len(self._notes) // FORMAT.size,
            "alert": self._alert,
            "levels": list(self._levels),
            "last_alarm": self._last_alarm,
            "folded": self._kept is not None,
        }
        if self.strain is not None:
            facts["strain"] = self.strain.dump()
        if self.borrowed:
            facts["borrowed"] = [each.told() for each in self.borrowed]
        blob = self._notes + self._copies
        if self._copies:
            facts["copies"] = len(self._copies) // FORMAT.size
        if self._recent is not None:
            marks = self._recent[-RECENT:]
            facts["near"] = self.near
            facts["spent"] = list(self._spent)
            facts["recent"] = len(marks)
            blob += struct.pack(f"<{len(marks)}H", *marks)
        if self._kept is not None:
            state = self._kept.state()
            facts["refused"] = list(state.refused)
            facts["retried"] = list(state.retried)
            blob += states.packed(state)
        if self._regimes is not None:
            facts["regimes"], more = self._regimes.dump()
            blob = more + blob
        return facts, blob

    def load(self, facts: Mapping[str, Any], blob: bytes) -> None:
        """Take up ``dump``. Raises ValueError, KeyError or TypeError where it is not one; half-changed then."""
        from poet.learning import states

        self.calls = count(facts["calls"])
        if self.strain is not None and "strain" in facts:  # states of older releases have none
            self.strain = Strain.of(facts["strain"])
        self.borrowed = ()
        if "borrowed" in facts:
            from poet.learning import borrowed

            self.borrowed = tuple(borrowed.Lent.of(each) for each in facts["borrowed"])
        self._answers = array("d", numbers(facts["answers"], range(FIRST_ANSWERS + 1)))
        self.longest = number(facts["longest"])
        self.limit = math.inf if facts["limit"] is None else number(facts["limit"])
        self.urgent = count(facts["urgent"], 2)
        self._block = count(facts["block"], BLOCK)
        self._alert = number(facts.get("alert", 0.0))
        levels = numbers(facts["levels"], range(MEMORIES, LEVELS + 1))
        if "watch" in facts:  # of a release that watched less
            levels = [*levels, *[0.0] * (WORSE - MEMORIES), number(facts["watch"])]
        if len(levels) != LEVELS:
            raise ValueError(f"{len(levels)} levels are watched, not {LEVELS}")
        self._levels = array("d", levels)
        self._last_alarm = count(facts["last_alarm"])
        blob = self._load_regimes(facts, blob)
        size = self._load_notes(facts, blob)
        size += self._load_recent(facts, blob[size:])
        if facts["folded"] is True:
            refused = Ewma(*numbers(facts["refused"], range(2, 3)))
            retried = numbers(facts["retried"], range(2, 3))
            self._keep(states.unpacked(blob[size:], refused, (retried[0], retried[1]), earlier="watch" in facts))
        elif len(blob) != size:
            raise ValueError(f"{len(blob) - size} bytes too many")
        else:
            self._keep(None)
        self._told()

    def _load_regimes(self, facts: Mapping[str, Any], blob: bytes) -> bytes:
        """Take up the regimes at the head of ``blob``; gives the rest."""
        self._regimes = None
        if "regimes" not in facts:  # states of older releases have none
            return blob
        from poet.learning.regimes import Regimes

        found, size = Regimes.of(facts["regimes"], blob)
        if self._recall:
            self._regimes = found
        return blob[size:]

    def _load_notes(self, facts: Mapping[str, Any], blob: bytes) -> int:
        """Take up the notes at the head of ``blob``; gives the bytes that they took."""
        n_notes = count(facts["notes"], BLOCK + MOST_ATTEMPTS)
        n_copies = count(facts.get("copies", 0), BLOCK + MOST_ATTEMPTS)  # states of older releases have none
        size = (n_notes + n_copies) * FORMAT.size
        values = list(FORMAT.iter_unpack(blob[:size]))
        for each in values[:n_notes]:
            _check_note(each, self._block)
        for each in values[n_notes:]:
            _check_copy(each, self._block)
        self._notes = blob[: n_notes * FORMAT.size]
        self._copies = blob[n_notes * FORMAT.size : size]
        if len(values) != n_notes + n_copies:
            raise ValueError(f"{n_notes + n_copies} notes were announced, {len(values)} are there")
        return size

    def _load_recent(self, facts: Mapping[str, Any], blob: bytes) -> int:
        """Take up the single durations at the head of ``blob``; gives the bytes that they took.

        Who does not hedge leaves them; who has begun to since begins with none.
        """
        marks = struct.unpack_from(f"<{count(facts.get('recent', 0), RECENT)}H", blob)
        spent = Ewma(*numbers(facts.get("spent", (0.0, 0.0)), range(2, 3)))
        for each in marks:
            marked(each)
        near = number(facts.get("near", 0.0))
        if self._recent is not None:
            self._recent, self._spent, self.near = array("H", marks), spent, near
        return 2 * len(marks)


def _risen(levels: Sequence[float], gain: Gain) -> list[float]:
    """The levels that are watched, after the calls behind ``gain``."""
    risen = map(float.__add__, levels, gain.rise.tolist())
    return list(map(max, risen, gain.least.tolist()))


def _check_note(values: tuple[int, ...], block: int) -> None:
    note = Note(*values)
    endless = note.bin == BINS - 1 and note.position
    if note.call >= block or note.outcome not in KIND or note.bin >= BINS or endless:
        raise ValueError(f"no note of an attempt: {note!r}")


def _check_copy(values: tuple[int, ...], block: int) -> None:
    copy = Copy(*values)
    _check_note((*copy[:4], 0), block)
    marked(copy.slow)
