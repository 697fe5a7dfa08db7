"""One function, several contexts: values of their own for those cells of calls where the data pay for it.

Around one learner that hears of all calls stand a few more, each of one cell (``region=eu``, ``size>=1000``, or several
such conditions), and one of all the rest. A cell gets values of its own where two things are shown: that its calls fare
otherwise than the others, by a test whose false alarms are stated (``context_watch``); and that the best values on its
own picture, which starts from the picture of all calls, are better there than what holds now, by a gain that is
credible and that, shared out over all calls, exceeds ``PAYS``. It loses them when that gain has gone.

The values of a cell are named ``timeout@region=eu``; the plain names are the rest's, and hold for contexts that were
never seen. Whether our own load harms what is called is found out by who learns the rest and by each large cell; small
ones go by the former, and harm that one has found is known to all. From then on no further cell is split: how each
fares depends on what all of them send, which a picture of its own does not know.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from poet.learning.checks import count, features, finite, number
from poet.learning.context_watch import BLOCK, LEVEL, MOST_FEATURES, UNIT, ContextWatch, kind_of
from poet.learning.notes import was_shed
from poet.learning.online_learner import _THOROUGH, OnlineLearner
from poet.learning.parcels import NO_PARCEL, packed, unpacked
from poet.model.contexts import Matcher, conditions, named, parts
from poet.model.execution import Context, Execution
from poet.model.explanation import Explanation
from poet.model.tunable import Value
from poet.seams import Probe, Suggestion

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from poet.kernels.online.survival import Array
    from poet.learning.choice import Prospect
    from poet.learning.states import State
    from poet.learning.strain import Strain

MOST = 8  # cells that may have values of their own at a time
PAYS = 0.001  # gain per call of the function, as a share of a success's value, from which on a cell pays
KEEPS = 0.25  # share of that below which it does so no more ...
PATIENCE = 2  # ... if it is so at as many looks in a row
PRIOR = 2.0  # calls that the picture of all is worth to a new cell
MOST_BELIEVED = 1.5  # of what all calls say of retries [nats]: that latency repeats may be the context's doing
MINDS = 0.2  # share of the calls from which on a cell makes experiments of its own with our load: they take calls of it
SHARE_KEEP = 0.5 ** (1 / 16.0)  # of a cell's share of the calls, per block
FIRST_CHECK, MOST_CHECK = 256, 2048  # calls from one look at whether cells still pay to the next, doubling
TRY_AGAIN = 96  # calls, at least, after which a cell that did not pay is tried again; half of those seen so far
AT_ONCE = 8  # cells that are tried in one look, as each takes milliseconds
MOST_TOLD = 128  # newest calls that others are told the contexts of

_MAGIC = b"POETctx1"
_NEWS_MAGIC = b"POETctn1"
_PLAIN = b"POETonl1"  # of a learner without contexts
_NO_KIND = (*NO_PARCEL, KeyError, OverflowError, AttributeError)


class _CellLearner(OnlineLearner):
    """Learns the values of one cell.

    above: who hears of all calls. minds: whether it makes experiments of its own with our load on what is called; else
    it goes by those of ``minder``, who learns what holds outside of the cells.
    """

    __slots__ = ("above", "cell", "minder")

    def __init__(self, above: OnlineLearner, cell: str, *, minds: bool = False) -> None:
        self.above, self.cell, self.minder = above, cell, above
        super().__init__(
            *above._arguments,
            objective=above._objective,
            space=above._space,
            declared=above._declared,
            backoff_cap=above._cap,
            hedge_budget=above._hedge_budget,
            mind_load=minds,
            seed=zlib.crc32(cell.encode("utf-8", "surrogatepass"), above._seed & 0xFFFFFFFF),
        )

    def _sibling(self, seed: int) -> OnlineLearner:
        return _CellLearner(self.above, self.cell, minds=self._mind_load)

    def minding(self) -> _CellLearner:
        """This, making experiments of its own from now on, if the minder does."""
        strain = self.minder._evidence.strain
        if strain is not None:
            self._mind_load = True
            self._evidence.strain = _among(strain, self.minder, self)
        return self

    @property
    def _strain(self) -> Strain | None:
        return self._evidence.strain if self._mind_load else self.minder._evidence.strain

    @property
    def _strained(self) -> int:
        return self._evidence.calls if self._mind_load else self.minder._evidence.calls


class _Own:
    """One cell that has values of its own, or the rest."""

    __slots__ = ("born", "learner", "poor", "share", "worth")

    def __init__(self, learner: _CellLearner, share: float, worth: float, *, born: bool = True) -> None:
        self.learner = learner
        self.share = share  # of the function's calls, of late
        self.worth = worth  # that its values add per call of the function, as of the last look [utility]
        self.poor = 0  # looks in a row at which that was too little
        self.born = born  # whether others have not been told of it yet


class _Candidate(NamedTuple):
    """A cell that may get values of its own."""

    cell: str
    scope: str  # the cell that its calls are in now
    share: float  # of the function's calls
    counts: Sequence[int]  # how its first attempts fared
    others: Sequence[int]  # and those of the others in its scope


class ContextLearner:
    """Learns ``timeout``, ``retries``, ``backoff`` and hedges per context; implements ``poet.seams.Learner``.

    parent: a new learner that says how it is learned; it hears of all calls.
    features: names of the features that count, as declared, the first ``MOST_FEATURES`` of them; empty: all that come.
    most: cells that may have values of their own at a time, in [0, 8].
    rest: whether what is in no such cell is learned apart from the cells, as it is best; False: by all calls.
    """

    scores = False  # that come later

    __slots__ = (
        "__weakref__",
        "_check",
        "_features",
        "_gone",
        "_judged",
        "_listened",
        "_match",
        "_most",
        "_own",
        "_parent",
        "_passed",
        "_pending",
        "_rest",
        "_rested",
        "_step",
        "_tries",
        "_untold",
        "_watch",
    )

    def __init__(
        self, parent: OnlineLearner, features: Sequence[str] = (), *, most: int = MOST, rest: bool = True
    ) -> None:
        self._parent = parent
        self._features = tuple(features)
        self._most = min(most, MOST)
        self._rested = rest
        self._watch = ContextWatch(self._features)
        self._own: dict[str, _Own] = {}
        self._rest: _Own | None = None
        self._match = Matcher(())
        self._pending: list[str] = []  # cells that fare otherwise, and wait to be looked at
        self._tries: dict[str, int] = {}  # calls before which a cell is not tried again
        self._passed: dict[str, float] = {}  # what values of its own would have been worth to it, when it was tried
        self._check, self._step = FIRST_CHECK, FIRST_CHECK
        self._listened = False  # whether calls did without extra requests at the last look
        self._forget()

    def _forget(self) -> None:
        """From here on counts as untold."""
        self._untold: list[tuple[int, Context]] = []
        self._gone: list[str] = []
        self._judged = False

    @property
    def cells(self) -> tuple[str, ...]:
        """Those that have values of their own."""
        return self._match.cells

    @property
    def _base(self) -> OnlineLearner:
        """Who learns what holds outside of the cells."""
        return self._parent if self._rest is None else self._rest.learner

    @property
    def _calls(self) -> int:
        return self._parent._evidence.calls

    # ------------------------------------------------------------ the seam

    def update(self, executions: Sequence[Execution]) -> None:
        """Fold them in, oldest first. Never changes them; odd values in them do no harm."""
        self._parent.update(executions)
        by_cell: dict[str, list[Execution]] = {}
        for execution in executions:
            if was_shed(execution):
                continue
            context = execution.context
            cell = (self._match(context) or "") if self._own else ""
            if self._own:
                by_cell.setdefault(cell, []).append(execution)
            if context:
                kind = kind_of(execution)
                self._untold.append((kind, context))
                self._observed(cell, kind, context)
        if len(self._untold) > 2 * MOST_TOLD:
            del self._untold[:-MOST_TOLD]
        for cell, calls in by_cell.items():
            own = self._own.get(cell) if cell else self._rest
            if own is not None:
                own.learner.update(calls)

    def _observed(self, cell: str, kind: int, context: Context) -> None:
        if not self._watch.observe(cell, kind, context):
            return
        scopes = [scope for scope, *_ in self._watch.waiting]
        for text, own in self._own.items():
            own.share = SHARE_KEEP * own.share + (1 - SHARE_KEEP) * scopes.count(text) / len(scopes)
        self._pending = self._watch.test()

    @property
    def parent(self) -> OnlineLearner:
        """The learner that hears of all calls."""
        return self._parent

    def rescored(self, executions: Sequence[Execution], before: Sequence[Execution]) -> None:
        """Nothing: times and failures tell all that it wants to know."""

    def due(self) -> int:
        """Whether it is time to look; 2: something has happened that must not wait, or it is one's turn."""
        due = max((learner.due() for _, learner in self._serving()), default=0)
        if self._own and self._listens != self._listened:
            due = 2
        if due < 1 and (self._ripe() or (self._own and self._calls >= self._check)):
            due = 1
        return due

    def suggest(self, live: Mapping[str, Value]) -> Suggestion | None:
        """Better values than ``live`` where the evidence is good enough, else None; mostly it is too early to look."""
        if not self.due():
            return None
        values = dict(live)
        said: list[str] = []
        estimates: dict[str, Any] = {}
        self._adopt(values)
        self._heed()
        for cell, learner in self._serving():
            suggestion = learner.suggest(self._values(values, cell))
            if suggestion is not None:
                values.update(_named(suggestion.values, cell, self._parent._space if cell else None))
                estimates.update(_named(suggestion.estimates, cell))
                said.append(f"{cell}: {suggestion.reason}" if cell else suggestion.reason)
        if self._rest is not None:
            self._parent._live = self._parent._plan_of(self._values(values, ""))
            self._parent._evidence.limit = max(
                self._parent._plan_of(self._values(values, cell))[0] for cell, _ in self._serving()
            )
        if self._own and self._calls >= self._check:
            said += self._judge(values)
        if self._ripe():
            self._divide(values, said, estimates)
        self._found(values)
        if values == dict(live):
            return None
        return Suggestion(self._ordered(values), "; ".join(said) or "contexts", estimates, self._calls)

    def probe(self) -> Probe:
        """How to probe from now on: as much as any context asks for, as it bites only on calls that fail anyway."""
        probes = [learner.probe() for _, learner in self._serving()]
        return Probe(
            retry=max(probe.retry for probe in probes),
            limit=max(probe.limit for probe in probes),
            stretch=max(probe.stretch for probe in probes),
            calm=any(probe.calm for probe in probes),
        )

    def explain(self, live: Mapping[str, Value]) -> Explanation:
        """Why ``live``, or why not; it changes nothing."""
        base = self._base if self._base._evidence.calls >= BLOCK else self._parent
        told = base.explain(self._values(live, ""))
        return told._replace(executions=self._calls, sentences=(*told.sentences, *self._words(live)))

    # ------------------------------------------------------------ cells

    def _serving(self) -> Iterator[tuple[str, OnlineLearner]]:
        """Whoever decides on values, by cell; first what holds outside of the cells."""
        yield "", self._base
        for cell, own in self._own.items():
            yield cell, own.learner

    def _values(self, live: Mapping[str, Value], cell: str) -> dict[str, Value]:
        """What holds in a cell."""
        values = {name: value for name, value in live.items() if "@" not in name}
        if cell:
            mark = f"@{cell}"
            values.update({name[: -len(mark)]: value for name, value in live.items() if name.endswith(mark)})
        return values

    def _ordered(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The plain names first, then cell by cell."""
        return dict(sorted(values.items(), key=lambda item: ("@" in item[0], parts(item[0])[1])))

    def _found(self, values: dict[str, Value]) -> None:
        """Give a plain value, one that does nothing, to names that only a cell has, as of versions without hedges."""
        for name in [name for name in values if "@" in name]:
            base, value = parts(name)[0], values[name]
            if base not in values:
                values[base] = 0 if base == "hedges" else value
                values.update(self._parent._space.clip({base: values[base]}))

    @property
    def _listens(self) -> bool:
        """Whether calls outside of the cells do without extra requests for now, to see what these do."""
        strain = self._base._evidence.strain
        return strain is not None and strain.listening

    @property
    def _feared(self) -> bool:
        """Whether our own load was found to do harm: how a cell fares depends on what all send then."""
        strain = self._base._evidence.strain
        return strain is not None and strain.feared

    def _heed(self) -> None:
        """What one has found of our own load, all know; and that it is tried out is urgent for who goes by it."""
        strains = [strain for _, learner in self._serving() if (strain := learner._evidence.strain) is not None]
        if any(strain.feared for strain in strains):
            for strain in strains:
                strain.warned()
        else:  # what did no harm in one is allowed to all
            most = max((strain.allowed for strain in strains), default=0.0)
            for strain in strains:
                strain.allowed = most
        if self._own and self._listens != self._listened:
            for own in self._own.values():
                if not own.learner._mind_load:
                    own.learner._evidence.urgent = 2
        self._listened = self._listens
        if self._rest is not None:
            self._parent._evidence.urgent = 0

    def _adopt(self, values: dict[str, Value]) -> None:
        """Cells that have values, and no learner: of a version that came from elsewhere, or before it was forgotten."""
        for cell in Matcher({parts(name)[1] for name in values if "@" in name}).cells:
            if cell in self._own:
                continue
            if len(self._own) < self._most:
                self._add(cell, _Own(_CellLearner(self._parent, cell), 0.0, PAYS * self._value))
                self._own[cell].learner._live = self._parent._plan_of(self._values(values, cell))
        for name in [name for name in values if "@" in name and parts(name)[1] not in self._own]:
            del values[name]

    @property
    def _value(self) -> float:
        return self._parent._objective.value

    def _add(self, cell: str, own: _Own, others: Sequence[int] | None = None) -> None:
        """Let a cell have values of its own. others: how the first attempts of the rest fared."""
        self._own[cell] = own
        if self._rest is None and self._rested:
            rest = _begin(_CellLearner(self._parent, ""), others or ()).minding()
            self._rest = _Own(rest, 1.0 - own.share, 0.0)
        self._changed()

    def _remove(self, cell: str) -> None:
        self._own.pop(cell, None)
        if not self._own and self._rest is not None:
            rest, self._rest = self._rest.learner, None
            if rest._evidence.strain is not None:
                self._parent._evidence.strain = _among(rest._evidence.strain, rest, self._parent)
            self._parent._next_look = self._calls
        self._changed()

    def _minded(self) -> None:
        """Who makes no experiments goes by those of who learns what holds outside of the cells."""
        for own in self._own.values():
            own.learner.minder = self._base

    def _changed(self) -> None:
        self._match = Matcher(self._own)
        self._minded()
        self._watch.divided(self._own)
        self._pending = []
        self._step = FIRST_CHECK
        self._check = self._calls + self._step

    # ------------------------------------------------------------ whether it pays

    def _ripe(self) -> list[str]:
        """Cells that fare otherwise, and may be tried."""
        if len(self._own) >= self._most or self._listens or self._feared:
            return []
        return [cell for cell in self._pending if self._tries.get(cell, 0) <= self._calls]

    def _divide(self, values: dict[str, Value], said: list[str], estimates: dict[str, Any]) -> None:
        """Give the cell values of its own that gains the most by it, if any gains enough."""
        best: tuple[float, _Candidate, _CellLearner, Suggestion] | None = None
        least = PAYS * self._value
        for cell in sorted(self._ripe(), key=lambda cell: self._tries.get(cell, 0))[:AT_ONCE]:
            worths = []
            for candidate in self._candidates(cell):
                learner = _CellLearner(self._parent, candidate.cell)
                learner.minder = self._base
                _begin(learner, candidate.counts)
                suggestion = learner.suggest(self._values(values, candidate.scope))
                gain = None if suggestion is None else suggestion.estimates.get("gain")
                worth = 0.0 if gain is None else candidate.share * gain.value
                worths.append(worth)
                if suggestion is not None and worth >= max(least, 0.0 if best is None else best[0]):
                    best = worth, candidate, learner, suggestion
            self._passed[cell] = max(worths, default=0.0)
            self._tries[cell] = self._calls + max(TRY_AGAIN, self._calls // 2)
        self._pending = []
        self._judged = True
        if best is None:
            return
        worth, candidate, learner, suggestion = best
        for cell in (self._tries.keys() | self._passed.keys()) - self._watch.cells.keys():
            self._tries.pop(cell, None)
            self._passed.pop(cell, None)
        self._tries.clear()  # what they fare otherwise than is another mixture now
        self._passed.clear()
        if candidate.share >= MINDS:
            learner.minding()
        self._add(candidate.cell, _Own(learner, candidate.share, worth), candidate.others)
        values.update(_named(self._values(values, candidate.scope), candidate.cell, self._parent._space))
        values.update(_named(suggestion.values, candidate.cell, self._parent._space))
        estimates.update(_named(suggestion.estimates, candidate.cell))
        said.append(
            f"{candidate.cell}, {100 * candidate.share:.3g} % of the calls, fares otherwise than the others: values of "
            f"its own, worth {worth:+.3g} per call of all: {suggestion.reason}"
        )

    def _candidates(self, cell: str) -> Iterator[_Candidate]:
        """The cell, and where it is one side of a cut, the other side."""
        watched = self._watch.cells.get(cell)
        if watched is None or cell in self._own:
            return
        inside, outside = self._watch.counts(cell), self._watch.counts(cell, others=True)
        whole = 1.0 - sum(own.share for own in self._own.values())
        whole = self._own[watched.scope].share if watched.scope in self._own else max(0.0, whole)
        share = self._watch.share(cell)
        yield _Candidate(cell, watched.scope, whole * share, inside, outside)
        last = conditions(cell)[-1]
        if last.how == ">=" and ("," not in cell or watched.scope):
            other = ",".join([*cell.split(",")[:-1], str(last._replace(how="<"))])
            if other not in self._own:
                yield _Candidate(other, watched.scope, whole * (1.0 - share), outside, inside)

    def _judge(self, values: dict[str, Value]) -> list[str]:
        """Take back the values of cells that do not pay any more."""
        said = []
        self._judged = True
        for cell, own in list(self._own.items()):
            beyond = self._beyond(cell)
            gain = _gain(own.learner, self._values(values, beyond), self._values(values, cell))
            own.worth = own.share * gain
            own.poor = own.poor + 1 if own.worth < KEEPS * PAYS * self._value else 0
            if own.poor < PATIENCE:
                continue
            self._remove(cell)
            for name in [name for name in values if parts(name)[1] == cell]:
                del values[name]
            said.append(
                f"{cell}: values of its own are worth {own.worth:+.3g} per call of all any more, too little: taken back"
            )
        if not said:
            self._step = min(2 * self._step, MOST_CHECK)
        self._check = self._calls + (self._step if not any(own.poor for own in self._own.values()) else FIRST_CHECK)
        return said

    def _beyond(self, cell: str) -> str:
        """The cell whose values would hold where this one had none; empty: those of the rest."""
        rule = set(cell.split(","))
        wider = [other for other in self._own if other != cell and set(other.split(",")) < rule]
        return max(wider, key=lambda other: other.count(","), default="")

    # ------------------------------------------------------------ words

    def _words(self, live: Mapping[str, Value]) -> list[str]:
        said = []
        for cell in self._match.cells:
            own = self._own[cell]
            timeout, retries, _ = self._parent._plan_of(self._values(live, cell))
            said.append(
                f"context {cell}: values of its own (timeout {timeout:.3g} s, retries {retries}) from "
                f"{own.learner._evidence.calls} of its calls, {100 * own.share:.3g} % of all; worth {own.worth:+.3g} "
                "per call of all"
            )
        if self._feared:
            said.append(
                "our own load was found to do harm: no further contexts are split, as all depend on it together"
            )
        if self._passed:
            passed = ", ".join(f"{cell} ({worth:+.2g})" for cell, worth in sorted(self._passed.items()))
            said.append(
                "contexts that fare otherwise than the others, but where values of their own would be worth less than "
                f"{PAYS * self._value:.3g} per call of all: {passed}; not split"
            )
        looked = [cell for cell, watched in self._watch.cells.items() if not watched.alarmed]
        if looked:
            most = max(looked, key=lambda cell: self._watch.cells[cell].level)
            level = max(self._watch.cells[most].level, 0.0)
            said.append(
                f"contexts looked at, and not found to fare otherwise: {', '.join(sorted(looked)[:8])}"
                f"{' ...' if len(looked) > 8 else ''}; most evidence for {most}, {level:.3g} of {LEVEL:.3g} nats"
            )
        return said + self._watch.words()

    # ------------------------------------------------------------ keeping

    def dump(self) -> bytes:
        """All it knows, for a store; some kilobytes, and some for each cell that has values of its own."""
        facts = {
            "watch": self._watch.dump(),
            "own": [[cell, own.share, own.worth, own.poor, own.learner._mind_load] for cell, own in self._own.items()],
            "rest": None if self._rest is None else [self._rest.learner._mind_load],
            "pending": self._pending,
            "tries": self._tries,
            "passed": self._passed,
            "check": self._check,
            "step": self._step,
            "listened": self._listened,
        }
        learners = [self._parent.dump(), *(own.learner.dump() for own in self._own.values())]
        if self._rest is not None:
            learners.append(self._rest.learner.dump())
        return packed(_MAGIC, facts, learners)

    def load(self, state: bytes) -> None:
        """Take up where ``dump`` left off. Raises ValueError, changing nothing, where ``state`` is of no such kind.

        The state of a learner without contexts is one, too.
        """
        if state[: len(_PLAIN)] == _PLAIN:
            self._parent.load(state)
            self._restore(
                _Restored(ContextWatch(self._features), {}, None, {}, {}, [], FIRST_CHECK, FIRST_CHECK, False)
            )
            return
        try:
            facts, learners = unpacked(_MAGIC, state)
            restored = self._read(facts, learners)
        except _NO_KIND as error:
            raise ValueError(f"this is no state of a learner by context ({error}); it was left unread") from error
        self._parent.load(learners[0])
        self._restore(restored)

    def _read(self, facts: Mapping[str, Any], learners: Sequence[bytes]) -> _Restored:
        watch = ContextWatch(self._features)
        watch.load(facts["watch"])
        own: dict[str, _Own] = {}
        stated = facts["own"]
        if len(stated) > MOST or len(learners) != 1 + len(stated) + (facts["rest"] is not None):
            raise ValueError(f"{len(learners)} learners for {len(stated)} cells")
        for (cell, share, worth, poor, minds), state in zip(stated, learners[1:], strict=False):
            conditions(cell)
            learner = _CellLearner(self._parent, cell, minds=minds is True)
            own[cell] = _loaded(learner, state, share, worth, poor, self._own.get(cell))
        rest = None
        if facts["rest"] is not None:
            learner = _CellLearner(self._parent, "", minds=facts["rest"][0] is True)
            rest = _loaded(learner, learners[-1], 0.0, 0.0, 0, self._rest)
        return _Restored(
            watch,
            own,
            rest,
            {str(cell): count(calls) for cell, calls in facts["tries"].items()},
            {str(cell): finite(worth) for cell, worth in facts["passed"].items()},
            [str(cell) for cell in facts["pending"]],
            count(facts["check"]),
            count(facts["step"]),
            facts["listened"] is True,
        )

    def _restore(self, restored: _Restored) -> None:
        self._watch, self._own, self._rest = restored.watch, restored.own, restored.rest
        self._tries, self._passed, self._pending = restored.tries, restored.passed, restored.pending
        self._check, self._step, self._listened = restored.check, restored.step, restored.listened
        self._match = Matcher(self._own)
        self._minded()
        self._forget()

    # ------------------------------------------------------------ telling others

    def contribution(self) -> bytes | None:
        """What it has seen since the last one was handed out, or since ``load``; None: nothing."""
        parent = self._parent.contribution()
        cells, learners = [], [parent or b""]
        owned = [*self._own.items(), *(() if self._rest is None else (("", self._rest),))]
        for cell, own in owned:
            born = own.learner.dump() if own.born else b""
            news = own.learner.contribution()
            cells.append([cell, own.share, own.worth, own.poor, own.learner._mind_load])
            learners += [news or b"", born]
        news_there = any(learners) or self._untold or self._gone or self._judged
        if not news_there:
            return None
        facts: dict[str, Any] = {
            "cells": cells,
            "gone": self._gone,
            "calls": [
                [kind, [list(pair) for pair in _tellable(context)]] for kind, context in self._untold[-MOST_TOLD:]
            ],
            "judged": None if not self._judged else [max(0, self._check - self._calls), self._step],
            "tries": {cell: max(0, calls - self._calls) for cell, calls in self._tries.items()},
            "passed": self._passed,
        }
        for _, own in owned:
            own.born = False
        self._forget()
        return packed(_NEWS_MAGIC, facts, learners)

    def merged(self, shared: bytes | None, contribution: bytes) -> bytes:
        """``shared``, what all know together as ``dump`` writes it, with a contribution of any of them folded in."""
        pool = self._sibling()
        if shared is not None:
            pool.load(shared)
        try:
            facts, learners = unpacked(_NEWS_MAGIC, contribution)
            pool = pool._taught(facts, learners)
        except _NO_KIND as error:
            raise ValueError(f"this is no contribution to a learner by context ({error})") from error
        return pool.dump()

    def _sibling(self) -> ContextLearner:
        parent = self._parent._sibling(self._parent._seed)
        return ContextLearner(parent, self._features, most=self._most, rest=self._rested)

    def _taught(self, facts: Mapping[str, Any], learners: Sequence[bytes]) -> ContextLearner:
        """What this becomes by a contribution; this is void then."""
        cells = facts["cells"]
        if len(learners) != 1 + 2 * len(cells):
            raise ValueError(f"{len(learners)} learners for {len(cells)} cells")
        pool = self._sibling()
        pool._parent.load(self._parent.merged(self._parent.dump(), learners[0]) if learners[0] else self._parent.dump())
        pool._restore(_Restored(*(getattr(self, f"_{name}") for name in _Restored._fields)))
        for _, own in pool._all():
            own.learner.above = pool._parent
        for cell in facts["gone"]:
            if cell in pool._own:
                pool._remove(cell)
        for place, (cell, share, worth, poor, minds) in enumerate(cells):
            news, born = learners[1 + 2 * place : 3 + 2 * place]
            learner = _CellLearner(pool._parent, str(cell), minds=minds is True)
            pool._told_of(learner, news, born, share, worth, poor)
        pool._minded()
        calls = pool._calls
        for name in ("tries", "passed"):
            for cell, value in facts[name].items():
                if cell in pool._watch.cells:
                    getattr(pool, f"_{name}")[cell] = calls + count(value) if name == "tries" else finite(value)
        if facts["judged"] is not None:
            ahead, step = facts["judged"]
            pool._check, pool._step = calls + count(ahead), count(step)
        for kind, context in facts["calls"][:MOST_TOLD]:
            met = features(context)
            pool._observed(pool._match(met) or "", kind if kind == -1 else count(kind, 1 << 10), met)
        pool._forget()
        return pool

    def _all(self) -> Iterator[tuple[str, _Own]]:
        yield from self._own.items()
        if self._rest is not None:
            yield "", self._rest

    def _told_of(self, learner: _CellLearner, news: bytes, born: bytes, share: float, worth: float, poor: int) -> None:
        """Take in what a contribution says of one cell, or of the rest."""
        cell = learner.cell
        known = self._own.get(cell) if cell else self._rest
        if known is None:
            if not born or (cell and len(self._own) >= self._most) or (not cell and not self._own):
                return
            own = _loaded(learner, born, share, worth, poor)
            if not cell:
                self._rest = own
                return
            conditions(cell)
            self._own[cell] = own
            self._changed()
            return
        if news:
            state = known.learner.merged(known.learner.dump(), news)
            known.learner = _loaded(_CellLearner(self._parent, cell, minds=known.learner._mind_load), state).learner
        known.share, known.worth, known.poor = number(share), finite(worth), count(poor)


class _Restored(NamedTuple):
    """What a state says beside what all calls say."""

    watch: ContextWatch
    own: dict[str, _Own]
    rest: _Own | None
    tries: dict[str, int]
    passed: dict[str, float]
    pending: list[str]
    check: int
    step: int
    listened: bool


# ---------------------------------------------------------------------------------------------------- births and worth


def _begin(learner: _CellLearner, counts: Sequence[int]) -> _CellLearner:
    """Let a new learner begin with what was counted of its cell, and a little of what is known of all calls."""
    parent = learner.above
    evidence, all_ = learner._evidence, parent._evidence
    all_.fold()
    evidence._keep(_state(all_._opened(), counts))
    evidence.calls = int(sum(counts) / UNIT)
    evidence._answers = all_._answers[:]
    evidence.longest, evidence.near = all_.longest, all_.near
    evidence._limit = all_._limit
    evidence._told()
    learner._typical = parent._typical
    learner._live = parent._live
    learner._looks = _THOROUGH - 1  # its first look is a thorough one
    return learner


def _among(strain: Strain, known: OnlineLearner, learner: OnlineLearner) -> Strain:
    """What ``strain`` of one learner says, for another."""
    evidence = learner._evidence
    picture = evidence.picture()
    curve = (picture.weights @ picture.answered).tolist()
    return strain.among(evidence.calls, known._evidence.calls, curve, evidence.limit)


def _state(all_: State, counts: Sequence[int]) -> State:
    import numpy as np

    from poet.kernels.online import repetition
    from poet.learning.context_watch import table
    from poet.learning.notes import HALF_LIVES

    weights = repetition.normalised(all_.record)
    known = all_.counts.astype(float)
    usual = sum(weight * each / max(each.sum(), 1e-9) for weight, each in zip(weights, known, strict=True))
    own: npt.NDArray[np.float64] = np.array(table(counts)) if len(counts) else np.zeros(known.shape[1:])
    most = np.array(HALF_LIVES) / math.log(2)  # calls that a memory holds
    scale = np.minimum(1.0, most / max(own.sum(), 1e-9))
    start = repetition.PRIOR
    errors, repeats = (
        _tempered(belief, prior) for belief, prior in zip((all_.errors, all_.repeats), start, strict=True)
    )
    return all_._replace(
        counts=(scale[:, None, None] * own + PRIOR * usual).astype(np.float32),
        record=np.zeros(len(weights)),
        errors=errors,
        repeats=repeats,
        retried=all_.retried,
    )


def _tempered(belief: Array, prior: Array) -> Array:
    """``belief``, an unnormalised log posterior, as far from ``prior`` as ``MOST_BELIEVED`` at most."""
    if belief is prior:
        return prior
    said = belief - prior
    return prior + said * min(1.0, MOST_BELIEVED / max(float(said.max() - said.min()), 1e-9))


def _gain(learner: OnlineLearner, before: Mapping[str, Value], now: Mapping[str, Value]) -> float:
    """What ``now`` gives more than ``before``, per call of the learner's own, by its picture [utility]."""
    from poet.learning.choice import prospects

    plans = [learner._plan(before), learner._plan(now)]
    wish = learner._wish()
    if wish is None or plans[0] == plans[1]:
        return 0.0
    evidence = learner._evidence
    found: list[Prospect] = prospects(evidence.picture(), plans, learner._cap, wish, evidence.calls, learner._rng(2))
    gain = found[1].gain.value
    if wish.aimed:  # what is aimed for is worth having, whatever it costs
        gain = max(gain, 0.0) + wish.objective.value * abs(found[1].success - found[0].success)
    return gain


def _named(values: Mapping[str, Any], cell: str, names: Any = None) -> dict[str, Any]:
    """These by their names in a cell. names: only these."""
    if not cell:
        return dict(values)
    return {named(name, cell): value for name, value in values.items() if names is None or name in names}


# ---------------------------------------------------------------------------------------------------- bytes


def _loaded(
    learner: _CellLearner,
    state: bytes,
    share: float = 0.0,
    worth: float = 0.0,
    poor: int = 0,
    before: _Own | None = None,
) -> _Own:
    """A learner by its state. before: whose experiments with our load do not end by what others have found."""
    learner.load(state)
    known = None if before is None else before.learner._evidence
    if known is not None and known.strain is not None and learner._mind_load:
        known.strain.elsewhere(learner._evidence.calls - known.calls)
        known.strain.under(learner._evidence.limit)
        learner._evidence.strain = known.strain
    own = _Own(learner, number(share), finite(worth), born=False)
    own.poor = count(poor)
    return own


def _tellable(context: Context) -> list[tuple[str, Any]]:
    return [
        (name, value) for name, value in context[:MOST_FEATURES] if not isinstance(value, float) or math.isfinite(value)
    ]


def is_state(state: bytes) -> bool:
    """Whether it is of a learner by context."""
    return state.startswith(_MAGIC)


def of_all_calls(state: bytes) -> bytes:
    """The state of the learner that hears of all calls; of another kind, it itself. Raises ValueError: damaged."""
    if not is_state(state):
        return state
    try:
        return unpacked(_MAGIC, state)[1][0]
    except _NO_KIND as error:
        raise ValueError(f"this is no state of a learner by context ({error}); it was left unread") from error
