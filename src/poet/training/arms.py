"""The learners of an experiment's arms: each hears of its own arm's calls only, in whichever process they are."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence

from poet.errors import StaleParameters
from poet.model.document import Document
from poet.model.execution import Execution
from poet.model.experiment import Strategy
from poet.model.parameters import ParameterSet
from poet.model.tunable import Value
from poet.seams import Learner, Probe, Reminded, Suggestion
from poet.training.trainee import Trainee
from poet.training.trainer import Trainer

KIND = "arm"  # of the documents in which they keep what they know
TRIES = 3  # to tell the others, while these tell as well

Learners = Callable[[Trainee, Mapping[str, Value]], Learner]
"""Makes the learner of an arm, by the options that were said of it."""


class ArmLearners:
    """Those of one experiment in one process. A fault in one is counted, and the calls go on."""

    def __init__(self, trainer: Trainer, trainee: Trainee, experiment: str, make: Learners) -> None:
        """experiment: its id."""
        self._trainer, self._trainee, self._experiment, self._make = trainer, trainee, experiment, make
        self._learners: dict[str, Learner] = {}
        self._taught: set[str] = set()  # names of arms whose learners know more than the store

    def probe(self, arm: Strategy, parameters: ParameterSet) -> Probe:
        """How its calls look beyond its values. Raises StoreError."""
        learner = self._of(arm)
        if learner is None:
            return Probe()
        if isinstance(learner, Reminded):
            learner.under(parameters, live=True)
        return self._trainer.learn(learner.probe) or Probe()

    def teach(self, arm: Strategy, parameters: ParameterSet, executions: Sequence[Execution]) -> bool:
        """Calls of an arm that has these parameters now. Gives whether to ask for a suggestion. Raises StoreError."""
        learner = self._of(arm)
        if learner is None:
            return False
        if isinstance(learner, Reminded):
            unknown = {each.version for each in executions if not learner.knows(each.version)}
            for version in self._trainer.store.versions(self._trainee.key) if unknown else ():
                if version.version in unknown:
                    learner.under(version)
            learner.under(parameters, live=True)
        self._trainer.learn(lambda: learner.update(executions))
        self._taught.add(arm.name)
        return bool(self._trainer.learn(learner.due))

    def suggestion(self, arm: Strategy, parameters: ParameterSet) -> Suggestion | None:
        """Better values for an arm."""
        learner = self._learners.get(arm.name)
        return None if learner is None else self._trainer.learn(lambda: learner.suggest(parameters))

    def rescored(self, arm: Strategy, executions: Sequence[Execution], before: Sequence[Execution]) -> None:
        """Scores of an arm's calls that came late. Raises StoreError."""
        learner = self._of(arm)
        if learner is not None and getattr(learner, "scores", False):
            self._trainer.learn(lambda: learner.rescored(executions, before))
            self._taught.add(arm.name)

    def exchange(self) -> None:
        """Let the same arms' learners in other processes know, and hear what these know. Raises StoreError."""
        for name in sorted(self._taught):
            contribution = self._trainer.learn(self._learners[name].contribution)
            self._taught.discard(name)
            if contribution is not None:
                self._tell(name, self._learners[name], contribution)

    def _of(self, arm: Strategy) -> Learner | None:
        """The learner of an arm, with what was learned before; None where it cannot be made."""
        learner = self._learners.get(arm.name)
        if learner is None:
            kept = self._kept(arm.name)
            learner = self._trainer.learn(lambda: self._make(self._trainee, arm.options))
            if learner is None:
                return None
            self._learners[arm.name] = learner
            state = None if kept is None else self._state(kept)
            if state is not None:
                self._load(learner, state)
        return learner

    def _kept(self, name: str) -> Document | None:
        kept = self._trainer.store.documents(KIND, self._trainee.key, name=f"{self._experiment} {name}")
        return kept[0] if kept else None

    def _load(self, learner: Learner, state: bytes) -> None:
        self._trainer.learn(lambda: learner.load(state))

    def _tell(self, name: str, learner: Learner, contribution: bytes) -> None:
        store, key, writer = self._trainer.store, self._trainee.key, self._trainer.writer
        for _ in range(TRIES):
            kept = self._kept(name)
            shared = None if kept is None else self._state(kept)  # what cannot be read is begun anew
            state = self._trainer.learn(lambda: learner.merged(shared, contribution))  # noqa: B023 - run at once
            if state is None:
                return
            body = json.dumps({"state": base64.b64encode(state).decode(), "last": writer})
            revision = 0 if kept is None else kept.revision
            try:
                store.keep(Document(KIND, f"{self._experiment} {name}", body, key, revision=revision), quiet=True)
            except StaleParameters:
                continue
            except ValueError as error:  # too long to be kept: then each process learns alone
                self._trainer.faults.add("what an arm has learned cannot be told to others", error)
                return
            if shared is not None and kept is not None and json.loads(kept.body).get("last") != writer:
                self._load(learner, state)
            return

    def _state(self, document: Document) -> bytes | None:
        """What is kept; None where it cannot be read."""
        try:
            return base64.b64decode(json.loads(document.body)["state"])
        except (ValueError, KeyError, TypeError) as error:
            self._trainer.faults.add("what an arm has learned cannot be read", error)
            return None
