"""What the processes of an experiment tell each other through the store, and how its effects went over time."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from poet.errors import StaleParameters
from poet.model.document import Document
from poet.model.experiment import Experiment
from poet.training.evidence import FOLDED, KIND, Evidence, pooled
from poet.training.trainee import Trainee
from poet.training.trainer import Trainer

SERIES = "effect"  # kind of the documents that tell how the effects went
POINTS = 200  # of a series; then every second one goes
CROWD = 20.0  # processes per second that each reads: so 100 of them read each other every 5 s


class Pool:
    """One experiment's, as one process sees it."""

    def __init__(self, trainer: Trainer, trainee: Trainee, experiment: Experiment) -> None:
        """Nothing was heard yet."""
        self.others = Evidence.of(experiment)  # what other processes saw, and what was folded
        self._trainer, self._trainee = trainer, trainee
        self._heard = -math.inf  # when others may be heard again, on the monotonic clock [s]
        self._told: str | None = None  # evidence that the store has
        self._points: list[list[Any]] | None = None
        self._step = 1  # calls between two points

    def exchange(self, experiment: Experiment, mine: Evidence, grace: float) -> None:
        """Tell what was seen here, hear the others, fold blocks that ended ``grace`` seconds ago. Raises StoreError.

        Blocks that were folded leave ``mine``.
        """
        self._tell(experiment, mine)
        heard = self._hear(experiment, mine)
        if heard is not None and experiment.rules.assignment == "block":
            self._fold(experiment, mine, heard, grace)

    def _tell(self, experiment: Experiment, mine: Evidence) -> None:
        body = mine.body()
        if body == self._told:
            return
        store, key, name = self._trainer.store, self._trainee.key, f"{experiment.name} {self._trainer.writer}"
        known = store.documents(KIND, key, name=name)
        store.keep(Document(KIND, name, body, key, revision=known[0].revision if known else 0), quiet=True)
        self._told = body

    def _hear(self, experiment: Experiment, mine: Evidence) -> list[Document] | None:
        """Pool what other processes told. Gives their documents; None: it was not time yet."""
        now = self._trainer.clock.now()
        if now < self._heard:
            return None
        own = f"{experiment.name} {self._trainer.writer}"
        documents = [
            document
            for document in self._trainer.store.documents(KIND, self._trainee.key)
            if document.name.startswith(f"{experiment.name} ") and document.name != own
        ]
        self._heard = now + max(0.0, len(documents) / CROWD - 1.0)
        kept = _folded(experiment, documents)
        ranges = None if kept is None else Evidence.read(kept.body, experiment)
        others = Evidence.of(experiment)
        for document in documents:
            try:
                part = Evidence.read(document.body, experiment)
            except ValueError as error:
                self._trainer.faults.add(f"what {document.name} has seen cannot be read", error)
                continue
            if ranges is not None:
                part.units = {at: unit for at, unit in part.units.items() if not ranges.is_folded(int(at))}
            others.merge(part)
        if ranges is not None:
            for at in [at for at in mine.units if ranges.is_folded(int(at))]:
                del mine.units[at]
        self.others = others
        return documents

    def _fold(self, experiment: Experiment, mine: Evidence, documents: Sequence[Document], grace: float) -> None:
        """Put blocks that are over into what is kept in common, once."""
        whole = pooled(experiment, [self.others, mine])
        due = self._trainer.clock.wall() - grace
        over = sorted(int(at) for at in whole.units if (int(at) + 1) * experiment.rules.block < due)
        if not over:
            return
        kept = _folded(experiment, documents)
        common = Evidence.of(experiment) if kept is None else Evidence.read(kept.body, experiment)
        for number in over:
            common.fold(whole.units[str(number)])
            common.mark(number)
        name, key, revision = f"{experiment.name} {FOLDED}", self._trainee.key, 0 if kept is None else kept.revision
        try:
            self._trainer.store.keep(Document(KIND, name, common.body(), key, revision=revision), quiet=True)
        except StaleParameters:  # another process was faster
            return
        self._heard = -math.inf
        self._hear(experiment, mine)

    def draw(self, experiment: Experiment, whole: Evidence) -> None:
        """A point more of the effects over time, where so many calls more were seen. Raises StoreError."""
        store, key = self._trainer.store, self._trainee.key
        if not whole.calls or (self._points and whole.calls < self._points[-1][1] + self._gap(experiment)):
            return
        kept = store.documents(SERIES, key, name=experiment.name)
        told: dict[str, Any] = json.loads(kept[0].body) if kept else {"step": 1, "points": []}
        points, self._step = told["points"], told["step"]
        if not points or whole.calls >= points[-1][1] + self._gap(experiment):
            points.append(_point(experiment, whole, self._trainer.clock.wall()))
            if len(points) > POINTS:
                points = points[::-2][::-1]
                self._step = max(2 * self._step, 2 * (points[-1][1] - points[0][1]) // POINTS)
            body, revision = json.dumps({"step": self._step, "points": points}), kept[0].revision if kept else 0
            try:
                store.keep(Document(SERIES, experiment.name, body, key, revision=revision), quiet=True)
            except StaleParameters:  # another process drew one
                return
        self._points = points

    def _gap(self, experiment: Experiment) -> int:
        return 1 if experiment.over else self._step


def _folded(experiment: Experiment, documents: Sequence[Document]) -> Document | None:
    return next((document for document in documents if document.name == f"{experiment.name} {FOLDED}"), None)


def _point(experiment: Experiment, evidence: Evidence, now: float) -> list[Any]:
    """Time [Unix s], calls, and value, low and high of each arm against the first one; None: not known."""
    alpha = experiment.rules.alpha / (len(experiment.arms) - 1)
    told: list[Any] = []
    for place in range(1, len(experiment.arms)):
        effect = evidence.effects[0, place]
        bounds = (effect.value, *effect.interval(alpha))
        told.append([float(f"{x:.6g}") if math.isfinite(x) else None for x in bounds])
    return [round(now, 3), evidence.calls, told]
