"""Takes new versions to the calls step by step, and takes them back: the roll-out of one function in one process.

Whoever decides first, decides for all: each change of a roll-out is a compare-and-set on the function's generation, and
the others follow. While the store is away a roll-out stays at its share; harm is answered in this process at once, and
told the store when it is back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from poet.errors import StaleParameters, StoreError
from poet.model.document import Document
from poet.model.execution import Execution
from poet.model.objective import Objective
from poet.model.parameters import ParameterSet, Standing
from poet.model.rollout import Phase, Rollout, Step
from poet.seams import Arm, Lot, Probe, Suggestion
from poet.training.guard import Guard, Judgement
from poet.training.told import Paper, Tell, silent, unread
from poet.training.trainee import Trainee
from poet.training.trainer import Trainer

RENEWED = 100  # calls after which what waits for a person is replaced by what is better still
BAKED = 0.2  # share of the bake after which something better may begin
SOONER = 0.5  # share of a step's calls that will do where the new version is plainly better
EVIDENCE = "evidence"  # kind of the documents in which each process tells what its guard has seen


class RolloutTrial:
    """One roll-out, as one process sees it."""

    def __init__(
        self,
        trainer: Trainer,
        trainee: Trainee,
        rollout: Rollout,
        revision: int,
        tell: Tell = silent,
        automatic: Callable[[], bool] = lambda: True,
        ended: Callable[[Rollout], None] = lambda rollout: None,
        paper: Paper = unread,
    ) -> None:
        """revision: of the document that keeps it; 0: the store is away, and nobody else knows of it.

        tell: of what has happened. automatic: whether it may go on to all calls without a person.
        ended: told of one that only this process knows of, and that was taken back.
        paper: what the recorded calls say of it before any call gets it.
        """
        self.rollout = rollout
        self._trainer, self._trainee, self._tell = trainer, trainee, tell
        self._revision, self._automatic, self._ended, self._paper = revision, automatic, ended, paper
        self._heard = 0  # calls since it was proposed, or since this process knows of it
        self._before: ParameterSet | None = None  # the version that calls had until the bake
        self._guard = Guard(rollout, _objective(trainee))
        self._others: dict[str, Guard] = {}  # what other processes have seen, by writer
        self._told = -1  # executions of the guard that the store knows of
        self._unsaid: tuple[Rollout, str] | None = None  # harm that the store was not told of yet, and the sentence

    # ------------------------------------------------------------ as a trial

    def lot(self, probe: Probe) -> Lot | None:
        """The live version and the other one, by their shares."""
        rollout, standing = self.rollout, self._trainee.standing
        stage = rollout.stage
        if stage is None or rollout.paused or self._unsaid is not None:
            return None
        other = standing.canary if rollout.phase == "canary" else self._base()
        if other is None or other.version == standing.live.version:
            return None
        share = stage.share if rollout.phase == "canary" else 1.0 - stage.share
        return Lot((Arm(standing.live, 1.0 - share, probe), Arm(other, share, probe)))

    def heard(self, executions: Sequence[Execution]) -> None:
        """Take note, and go on or back where it is time."""
        self._heard += len(executions)
        self._guard.add(executions)
        self._decide()

    def rescored(self, executions: Sequence[Execution], before: Sequence[Execution]) -> None:
        """Scores that came late."""
        self._guard.rescored(executions, before)
        self._decide()

    def suggested(self, suggestion: Suggestion, *, urgent: bool) -> bool:
        """While it is on trial, nothing else is begun; later in the bake it ends for what is better still.

        What is urgent ends either.
        """
        rollout, stage = self.rollout, self.rollout.stage
        if rollout.phase == "proposed":
            canary = self._trainee.standing.canary
            if canary is not None and dict(canary) != {**canary, **suggestion.values} and self._heard >= RENEWED:
                self.withdraw("there is a newer one")
            return self._trainee.trial is self
        if stage is None or rollout.paused or self._trainee.standing.paused or self._unsaid is not None:
            return True
        pooled = self._pooled()
        if pooled.harmful:
            return True
        if rollout.phase == "bake" and (urgent or pooled.exposed - rollout.exposed >= stage.calls * BAKED):
            self._move("done", f"a better one is there already; {pooled.judgement().sentence}", {})
        elif rollout.phase == "canary" and urgent and rollout.pace != "urgent":
            self.withdraw("something urgent came up")
        return self._trainee.trial is self  # the store did not take it: later

    def withdraw(self, why: str) -> None:
        """End it, and let all calls have the live version. Raises StoreError."""
        self._back(self.rollout.noted(self._now(), "withdrawn", why, phase="withdrawn", sentence=why), why)

    def stored(self, *, last: bool) -> None:
        """Tell others what was seen, hear what they have. Raises StoreError."""
        if self._unsaid is not None:
            rollout, sentence = self._unsaid
            self._back(rollout, sentence)
            return
        if not self._revision:
            return
        store, key, trainer = self._trainer.store, self._trainee.key, self._trainer
        kept = store.documents(EVIDENCE, key)
        if self._told != self._guard.seen:
            body = json.dumps({"rollout": self.rollout.name, **self._guard.state()})
            name = f"{self.rollout.name} {trainer.writer}"
            revision = next((each.revision for each in kept if each.name == name), 0)
            store.keep(Document(EVIDENCE, name, body, key, revision=revision), quiet=True)
            self._told = self._guard.seen
        for document in kept:
            name, _, writer = document.name.rpartition(" ")
            if name == self.rollout.name and writer != trainer.writer:
                try:
                    self._others[writer] = Guard.of(self.rollout, _objective(self._trainee), json.loads(document.body))
                except (ValueError, KeyError, TypeError) as error:
                    trainer.faults.add(f"what {writer} has seen of a roll-out cannot be read", error)
        self._on_paper()
        self._decide()

    # ------------------------------------------------------------ what is known

    @property
    def local(self) -> bool:
        """Whether only this process knows of it, as the store is away."""
        return not self._revision and not self.rollout.ended

    def follow(self, rollout: Rollout, revision: int) -> None:
        """Somebody has moved it."""
        self.rollout, self._revision = rollout, revision
        self._guard.rollout = rollout

    @property
    def judgement(self) -> Judgement:
        """What all that was seen says, here and elsewhere."""
        return self._pooled().judgement()

    def _pooled(self) -> Guard:
        pooled = self._guard
        for other in self._others.values():
            pooled = pooled.merged(other)
        return pooled

    def _base(self) -> ParameterSet | None:
        """The version that calls had before, where it is not live."""
        base = self.rollout.base
        if self._before is None and base != self._trainee.standing.live.version:
            versions = self._trainer.store.versions(self._trainee.key)
            self._before = next((each for each in versions if each.version == base), None)
        return self._before

    # ------------------------------------------------------------ what is done

    def _on_paper(self) -> None:
        """Where it was only proposed so far: try it on the recorded calls, and begin, or take it back."""
        rollout, canary = self.rollout, self._trainee.standing.canary
        if rollout.phase != "proposed" or rollout.paused or canary is None or self._heard < rollout.policy.shadow:
            return
        why = "proposed"
        if rollout.policy.shadow:
            gain = self._paper(self._trainee, canary, rollout.begun)
            if gain is None:
                why = "the recorded calls cannot tell what it would have made of them"
            else:
                why = f"on paper it gains {gain.value:+.3g} per call [{gain.low:.3g}, {gain.high:.3g}]"
                if gain.high < 0:
                    self._back(
                        rollout.noted(
                            self._now(), "rolled back", why, phase="rolled back", verdict="harm", sentence=why
                        ),
                        why,
                    )
                    return
        if self._automatic() and not self._trainee.standing.paused:
            self._move("canary", why, {})

    def _decide(self) -> None:
        rollout = self.rollout
        if rollout.ended or self._unsaid is not None:
            return
        pooled = self._pooled()
        if not rollout.paused and pooled.harmful:
            judged = pooled.judgement()
            if judged.verdict == "harm" and self._harmed(judged):
                return
        rollout = self.rollout
        stage = rollout.stage
        if stage is None or rollout.paused or self._trainee.standing.paused:
            return
        needed = stage.calls * (SOONER if pooled.plainly_better else 1.0)
        observed = rollout.policy.harmed(rollout.changes) == "observe"
        if pooled.exposed - rollout.exposed < needed or not pooled.balanced:
            return
        if pooled.plainly_worse and not observed:
            return
        judged = pooled.judgement()
        if rollout.policy.advance == "evidence" and judged.verdict == "undecided":
            return
        self._advance(pooled.exposed, stage, judged)

    def _advance(self, exposed: int, stage: Step, judged: Judgement) -> None:
        rollout = self.rollout
        told = f"{exposed - rollout.exposed} calls without harm; {judged.sentence}"
        if rollout.phase == "bake":
            self._move("done", told, judged.figures, verdict=judged.verdict)
        elif rollout.step + 1 < len(rollout.steps):
            self._move("canary", told, judged.figures, step=rollout.step + 1, exposed=exposed, verdict=judged.verdict)
        elif self._automatic():
            self._move("bake", told, judged.figures, exposed=exposed, verdict=judged.verdict)

    def _harmed(self, judged: Judgement) -> bool:
        """Do what the policy says. Gives whether it goes no further."""
        rollout, on_harm = self.rollout, self.rollout.policy.harmed(self.rollout.changes)
        told: dict[str, Any] = {"verdict": "harm", "sentence": judged.sentence, "figures": judged.figures}
        if on_harm == "observe":
            if rollout.verdict != "harm":
                self._write(rollout.noted(self._now(), "harm observed", judged.sentence, **told))
                self._tell("harm_observed", self._trainee, judged.sentence)
            return False
        if on_harm == "pause" and rollout.phase == "canary":
            paused = rollout.noted(self._now(), "paused", judged.sentence, paused=f"harm: {judged.sentence}", **told)
            self._tell("rollout_paused", self._trainee, judged.sentence)
            self._write(paused)
        else:
            self._tell("rolled_back", self._trainee, judged.sentence)
            self._back(
                rollout.noted(self._now(), "rolled back", judged.sentence, phase="rolled back", **told), judged.sentence
            )
        return True

    def _back(self, rollout: Rollout, sentence: str) -> None:
        """All calls get the version of before: here at once, and everywhere once the store knows."""
        trainer, trainee, standing = self._trainer, self._trainee, self._trainee.standing
        document = rollout.document(trainee.key, self._revision)
        reason = f"v{self.rollout.version} {rollout.phase}: {sentence}"
        in_bake = self.rollout.phase == "bake"
        if self._revision:
            try:
                if in_bake:
                    after = trainer.store.rollback(
                        trainee.key, rollout.base, author="poet", reason=reason, beside=[document], pause=False
                    )
                else:
                    after = trainer.store.point(
                        trainee.key,
                        "canary",
                        None,
                        expected=standing.generation,
                        author="poet",
                        reason=reason,
                        beside=[document],
                    )
            except StaleParameters:
                self._unsaid = None
                trainer.reload(trainee.key)
                return
            except StoreError:
                if self._unsaid is None:
                    self._unsaid = rollout, sentence
                    self._locally(in_bake)
                raise
            self._unsaid = None
            trainer.adopt(trainee.key, after)
            self._clean()
            return
        self.rollout = rollout
        trainee.trial = None
        self._locally(in_bake)
        self._ended(rollout)

    def _locally(self, in_bake: bool) -> None:
        """In this process calls have the version of before from now on."""
        trainee = self._trainee
        before = self._base() if in_bake else None
        live = trainee.standing.live if before is None else before
        trainee.standing = trainee.standing._replace(live=live, canary=None)
        if before is not None:
            trainee.draft = False
        self._trainer.deliver(trainee)

    def _move(self, phase: Phase, why: str, figures: Mapping[str, Any], **changes: Any) -> None:
        """Take it to another phase or step, for all."""
        stage = replace(self.rollout, phase=phase, **{k: v for k, v in changes.items() if k == "step"}).stage
        what = phase if stage is None else f"{phase} at {100 * stage.share:.3g} %"
        rollout = self.rollout.noted(
            self._now(), what, why, phase=phase, sentence=why, figures=figures or self.rollout.figures, **changes
        )
        if phase != "bake":
            self._write(rollout)
            return
        trainee, standing = self._trainee, self._trainee.standing
        canary = standing.canary
        if canary is None:
            return
        self._before = standing.live
        if not self._revision:
            self.rollout = self._guard.rollout = rollout
            trainee.standing, trainee.draft = standing._replace(live=canary, canary=None), True
            self._trainer.deliver(trainee)
            return
        self._changed(
            lambda: self._trainer.store.point(
                trainee.key,
                "live",
                canary.version,
                expected=standing.generation,
                author=self.rollout.author,
                reason=f"{canary.reason}; {why}" if canary.reason else why,
                beside=[rollout.document(trainee.key, self._revision)],
            )
        )

    def _write(self, rollout: Rollout) -> None:
        """Keep it as it is now, with nothing else changed."""
        trainee, trainer = self._trainee, self._trainer
        if not self._revision:
            self.rollout = self._guard.rollout = rollout
            if rollout.ended:
                trainee.trial = None
            trainer.deliver(trainee)
            return
        document = rollout.document(trainee.key, self._revision)

        def kept() -> Standing:
            trainer.store.keep(document)
            return trainer.store.standing(trainee.key)

        self._changed(kept)
        if rollout.ended:
            self._clean()

    def _changed(self, step: Callable[[], Standing]) -> None:
        """Change the store, and take over what holds then. It goes on as it is where somebody else was faster."""
        try:
            standing = step()
        except StaleParameters:
            self._trainer.reload(self._trainee.key)
        else:
            self._trainer.adopt(self._trainee.key, standing)

    def _clean(self) -> None:
        """What the guards have seen is in the roll-out now."""
        store, key = self._trainer.store, self._trainee.key
        names = [each for each in store.documents(EVIDENCE, key) if each.name.startswith(f"{self.rollout.name} ")]
        store.discard(names)

    def _now(self) -> float:
        return self._trainer.clock.wall()


def _objective(trainee: Trainee) -> Objective:
    return Objective(**{name: value for name, value in trainee.subject.record.objective.items() if value is not None})
