"""Which versions go through a trial, and what takes care of it: of all functions of a process."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import log
from typing import TYPE_CHECKING, NamedTuple

from poet.errors import StaleParameters, StoreAway
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet
from poet.model.rollout import KIND, Pace, Rollout, RolloutPolicy, changes_of
from poet.model.tunable import Value
from poet.seams import ProcessReport, Store
from poet.training.told import Paper, Tell, silent, unread
from poet.training.trainee import Trainee
from poet.training.trainer import Trainer
from poet.training.trial import Teaching, Trial

if TYPE_CHECKING:
    from poet.training.arms import Learners
    from poet.training.rollouts import RolloutTrial

FIRST_REST = 60.0  # after harm, the same region is left alone for so long [s] ...
GROWTH = 4.0  # ... and each time so many times longer ...
LONGEST_REST = 86_400.0  # ... up to this [s]
LOCAL = 0  # number of a version that the store does not know yet
TROUBLE = 0.9  # share of calls that succeed lately, below which the function is in trouble
NEAR = 0.5  # of the way to what did harm: from there on it is the same region


class Refusal(NamedTuple):
    """A change that did harm."""

    changes: Mapping[str, tuple[Value | None, Value | None]]
    until: float  # Unix time [s]

    def covers(self, live: Mapping[str, Value], draft: Mapping[str, Value]) -> bool:
        """Whether to go from ``live`` to ``draft`` is to go most of the same way again."""
        return all(_towards(live.get(name), draft.get(name), after) for name, (_, after) in self.changes.items())


class Trials:
    """Makes roll-outs of what learning proposes, and takes up those that the store tells of."""

    def __init__(
        self,
        learners: Learners,
        report: Callable[[], ProcessReport],
        tell: Tell = silent,
        automatic: Callable[[Trainee], bool] = lambda trainee: True,
        paper: Paper = unread,
    ) -> None:
        """learners: of an experiment's arms. report: how this process fares. tell: of what has happened.

        automatic: whether roll-outs of a function need no person. paper: what the recorded calls say of a version
        before any call gets it.
        """
        self._learners, self._report, self._paper = learners, report, paper
        self._tell, self._automatic = tell, automatic
        self._refusals: dict[FunctionKey, list[Refusal]] = {}
        self._local: dict[FunctionKey, list[Rollout]] = {}  # that were taken back while the store was away

    def take_up(self, trainer: Trainer, trainee: Trainee, before: Trial | None) -> Trial | None:
        """What takes care of the function from now on, by its standing; ``before``: what did so until now."""
        standing = trainee.standing
        for document in standing.steering:
            if document.kind != KIND:  # there is one other kind
                from poet.training.experiment import ExperimentTrial  # here: few functions have any

                if isinstance(before, ExperimentTrial) and before.name == document.name:
                    before.follow(document)
                    return before
                return ExperimentTrial(trainer, trainee, document, self._learners, self._report, self._tell)
            rollout = Rollout.of(document)
            if rollout.phase in ("proposed", "canary") and (
                standing.canary is None or standing.canary.version != rollout.version
            ):
                continue  # taken back by hand, and about to be closed
            known = _rolled_out(before)
            if known is not None and known.rollout.name == rollout.name:
                known.follow(rollout, document.revision)
                return known
            return self._trial(trainer, trainee, rollout, document.revision)
        known = _rolled_out(before)
        if known is not None:
            self._refusals.pop(trainee.key, None)  # it may have ended in harm
            if known.local:
                return known
        return None

    def propose(self, trainer: Trainer, trainee: Trainee, draft: ParameterSet, *, urgent: bool) -> bool:
        """A learner proposes ``draft``. Gives whether it was dealt with; False: make it live at once.

        Raises StoreError other than that the store is away; StaleParameters is dealt with.
        """
        if isinstance(trainee.trial, Teaching):
            return False  # it is watched there
        policy = trainee.subject.rollout or trainer.settings.rollout
        if policy == "direct":
            return False
        if policy == "canary":
            policy = RolloutPolicy()
        standing, now = trainee.standing, trainer.clock.wall()
        if not urgent and any(
            now < refusal.until and refusal.covers(standing.live, draft)
            for refusal in self._known_refusals(trainer.store, trainee.key)
        ):
            return True
        begun = begin(
            standing.live,
            draft,
            policy,
            now,
            pace=_pace(trainee, standing.live, draft, urgent=urgent),
            waits=not self._automatic(trainee),
        )
        try:
            after = trainer.store.publish(
                trainee.key,
                draft,
                expected=standing.generation,
                alias="canary",
                beside=[begun.document(trainee.key)],
            )
        except StaleParameters:
            trainer.reload(trainee.key)
        except StoreAway:
            if standing.live.version == LOCAL:  # already one that the store does not know: calls could not tell of two
                return not urgent
            trainee.standing = standing._replace(canary=draft.changed(version=LOCAL))
            local = replace(begun, version=LOCAL)
            trainee.trial = self._trial(trainer, trainee, local, 0)
            trainer.deliver(trainee)
        else:
            trainer.adopt(trainee.key, after)
        return True

    def _trial(self, trainer: Trainer, trainee: Trainee, rollout: Rollout, revision: int) -> RolloutTrial:
        from poet.training.rollouts import RolloutTrial  # here, as it loads the guards: few processes roll anything out

        return RolloutTrial(
            trainer,
            trainee,
            rollout,
            revision,
            self._tell,
            lambda: self._automatic(trainee),
            lambda ended: self._taken_back(trainee.key, ended),
            self._paper,
        )

    def _taken_back(self, key: FunctionKey, rollout: Rollout) -> None:
        self._local.setdefault(key, []).append(rollout)
        self._refusals.pop(key, None)

    def _known_refusals(self, store: Store, key: FunctionKey) -> list[Refusal]:
        known = self._refusals.get(key)
        if known is None:
            local = self._local.get(key, [])
            try:
                kept = [Rollout.of(document) for document in store.documents(KIND, key)]
            except StoreAway:
                return refusals(local)
            known = self._refusals[key] = refusals([*kept, *local])
        return known


def _rolled_out(trial: Trial | None) -> RolloutTrial | None:
    """``trial`` where it is a roll-out's."""
    if trial is None:
        return None
    from poet.training.rollouts import RolloutTrial

    return trial if isinstance(trial, RolloutTrial) else None


def begin(
    live: ParameterSet,
    draft: ParameterSet,
    policy: RolloutPolicy,
    now: float,
    *,
    pace: Pace = "steps",
    waits: bool = False,
) -> Rollout:
    """A roll-out of ``draft``, at its first step. Its version is told by the store. now: Unix time [s].

    waits: for a person; so no call gets it yet, nor while it is tried on paper.
    """
    rollout = Rollout(
        name=f"{int(1000 * now):012x}-{secrets.token_hex(2)}",
        base=live.version,
        version=0,
        changes=changes_of(live, draft),
        policy=policy,
        pace=pace,
        phase="proposed" if waits or (policy.shadow and pace != "urgent") else "canary",
        author=draft.author,
        reason=draft.reason,
        begun=now,
    )
    what = rollout.phase if rollout.stage is None else f"canary at {100 * rollout.stage.share:.3g} %"
    return rollout.noted(now, what, draft.reason)


def refusals(rollouts: list[Rollout]) -> list[Refusal]:
    """What did harm, and how long each is left alone: longer each time, where it was tried again."""
    found: list[Refusal] = []
    for rollout in sorted(rollouts, key=lambda rollout: rollout.begun):
        if rollout.phase != "rolled back" or rollout.verdict != "harm" or not rollout.log:
            continue
        before = {name: pair[0] for name, pair in rollout.changes.items() if pair[0] is not None}
        after = {name: pair[1] for name, pair in rollout.changes.items() if pair[1] is not None}
        times = sum(refusal.covers(before, after) for refusal in found)
        rest = min(FIRST_REST * GROWTH**times, LONGEST_REST)
        found.append(Refusal(rollout.changes, rollout.log[-1].at + rest))
    return found


def _pace(trainee: Trainee, live: ParameterSet, draft: ParameterSet, *, urgent: bool) -> Pace:
    """How fast a change may go."""
    if urgent or (_spares(live, draft) and _in_trouble(trainee)):
        return "urgent"
    return "first" if live.origin == "declared" else "steps"


def _in_trouble(trainee: Trainee) -> bool:
    """Whether many calls fail lately, as far as anybody counts."""
    success = trainee.tally.success
    return success is not None and success < TROUBLE


def _spares(live: ParameterSet, draft: ParameterSet) -> bool:
    """Whether calls make fewer requests: what may be in trouble by these is not to be kept waiting."""
    before, after = ([each.number(name) for name in ("retries", "hedges")] for each in (live, draft))
    return after != before and all(b <= a for a, b in zip(before, after, strict=True))


def _towards(live: Value | None, draft: Value | None, refused: Value | None) -> bool:
    """Whether ``draft`` lies most of the way, or beyond, from ``live`` to what was refused."""
    numbers = [value for value in (live, draft, refused) if isinstance(value, int | float)]
    if len(numbers) < 3 or any(isinstance(value, bool) for value in numbers):
        return draft == refused and draft != live
    here, there, bad = (log(value) if min(numbers) > 0 else value for value in numbers)
    return (there - here) * (bad - here) >= NEAR * (bad - here) ** 2 if bad != here else there == bad
