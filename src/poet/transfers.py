"""What functions of a process take over from others: asked for, given to their learners, judged by their own calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from poet.errors import StaleDocument, StoreError
from poet.learners import lent, of_all_calls
from poet.model.document import Document
from poet.model.flag import ON
from poet.model.function import FunctionKey
from poet.model.transfer import KIND, Transfer
from poet.relatives import Relatives
from poet.training.trainee import Trainee
from poet.training.trainer import Trainer

if TYPE_CHECKING:
    from poet.learning.online_learner import OnlineLearner

JUDGED_AFTER = 60  # own calls after which it is said whether a transfer has helped
NEW = 20  # own calls up to which a function asks its relatives
ASKED_AT = (0, 10)  # own calls from which on it asks, once for each: it is known by its name first, then by its calls
RELATIVES = 12  # that are asked
LIKELY = 0.5  # probability that one helps, from which on it is asked


class _Known(NamedTuple):
    """How a function stood when it was looked at last."""

    generation: int
    waiting: tuple[Transfer, ...]  # that are open
    asked: int  # times that it has asked its relatives


class Transfers:
    """Attends to the transfers of all functions of a process, under the trainer's lock."""

    def __init__(
        self, relatives: Relatives, introduce: Callable[[Trainer], None], asks: Callable[[FunctionKey], bool]
    ) -> None:
        """introduce: makes what this process's functions are like known. asks: whether a new one asks its relatives."""
        self._relatives, self._introduce, self._asks = relatives, introduce, asks
        self._known: dict[FunctionKey, _Known] = {}

    def attend(self, trainer: Trainer, trainee: Trainee) -> None:
        """Ask its relatives where the function is new; give its learner what was asked for; judge what it had.

        Costs nothing where nothing has changed and nothing is open. Raises StoreError.
        """
        key, generation = trainee.key, trainee.standing.generation
        known = self._known.get(key) or _Known(-1, (), 0)
        if not trainee.learns:
            return
        if known.asked < len(ASKED_AT) and self._asks(key) and trainer.flags.value("share.read", key.name) == ON:
            known = self._ask(trainer, trainee, known)
        if known.generation != generation:
            known = known._replace(generation=generation, waiting=tuple(self._open(trainer, trainee)))
        if known.waiting:
            known = known._replace(waiting=tuple(self._step(trainer, trainee, known.waiting)))
        self._known[key] = known

    def harmed(self, trainer: Trainer, trainee: Trainee, why: str) -> None:
        """A version that came of a transfer was rolled back: withdraw it all, and let likeness learn from it."""
        online = of_all_calls(trainee.learner)
        if online is None:
            return
        gone = online.give_back()
        trainee.taught = True
        for document, each in _documents(trainer, trainee):
            if each.phase in ("taken", "done") and str(each.source) in gone:
                ended = each.now("withdrawn", f"it did harm: {why}", helped=0.0)
                if self._keep(trainer, ended, document):
                    self._teach(trainer, ended)

    def _ask(self, trainer: Trainer, trainee: Trainee, known: _Known) -> _Known:
        """Ask the likeliest relatives, where the function is new."""
        online = of_all_calls(trainee.learner)
        calls = 0 if online is None else online.calls
        if calls < ASKED_AT[known.asked]:
            return known
        known = known._replace(asked=known.asked + 1)
        key = trainee.key
        if calls > NEW or online is None or online.borrowed:
            return known
        self._introduce(trainer)
        registry = self._relatives.registry(trainer.store)
        registry.consent = trainer.flags.value
        for relative in registry.find_similar_functions(key, top=RELATIVES):
            if relative.similarity >= LIKELY:
                registry.share_learning(relative.function, key, confidence_threshold=LIKELY)
        return known._replace(generation=-1)

    def _open(self, trainer: Trainer, trainee: Trainee) -> list[Transfer]:
        return [each for document, each in _documents(trainer, trainee) if document.open]

    def _step(self, trainer: Trainer, trainee: Trainee, waiting: tuple[Transfer, ...]) -> list[Transfer]:
        """Take what waits, and judge what was taken; what is open still."""
        online = of_all_calls(trainee.learner)
        if online is None:
            return []
        left, fresh = [], False
        for each in waiting:
            if str(each.source) not in online.borrowed:  # it is new, or the learner has lost it with its process
                fresh |= self._take(trainer, online, each)
            elif online.calls - each.calls >= JUDGED_AFTER:
                self._judge(trainer, online, each)
            else:
                left.append(each)
        if fresh:
            trainer.consider(trainee)
            return self._open(trainer, trainee)
        return left

    def _take(self, trainer: Trainer, online: OnlineLearner, each: Transfer) -> bool:
        """Give the learner what the source has learned; whether it has it now."""
        source = each.source
        try:
            state = trainer.store.load_learner(source)
            loan = None if state is None else lent(state, str(source), each.helps)
        except ValueError as error:
            self._keep(trainer, each.now("refused", f"what {source.name} has learned cannot be read: {error}"))
            return False
        if loan is None:
            self._keep(trainer, each.now("refused", f"{source.name} has seen too few attempts to tell of"))
            return False
        if str(source) not in online.borrow([loan]):
            self._keep(trainer, each.now("refused", "enough others have been asked, or it was given back before"))
            return False
        if each.phase == "asked":
            taken = each.now("taken", f"from {source.name}, whose help has a chance of {100 * each.helps:.3g} %")
            self._keep(trainer, taken.now("taken", taken.why, calls=online.calls))
        return True

    def _judge(self, trainer: Trainer, online: OnlineLearner, each: Transfer) -> None:
        """By how much better the relative foretold the own calls than nobody: has it helped?"""
        heard = online.heard
        if heard is None:  # its calls have changed, or are so many that nobody asks relatives any more
            self._keep(trainer, each.now("done", "own calls have outweighed it"))
            return
        helped = heard.helped[online.borrowed.index(str(each.source))]
        said = f"after {online.calls} calls of its own it has helped with a probability of {100 * helped:.3g} %"
        done = each.now("done", said, helped=helped)
        if self._keep(trainer, done):
            self._teach(trainer, done)

    def _teach(self, trainer: Trainer, each: Transfer) -> None:
        if each.helped is not None:
            self._relatives.registry(trainer.store).teach(each.source, each.target, each.helped)

    def _keep(self, trainer: Trainer, each: Transfer, document: Document | None = None) -> bool:
        """Keep it as it is now; False: another process was faster, and its word holds."""
        name = each.document().name
        if document is None:
            found = trainer.store.documents(KIND, each.target, name=name)
            document = found[0] if found else None
        try:
            trainer.store.keep(each.document(0 if document is None else document.revision), quiet=True)
        except StaleDocument:
            return False
        return True


def _documents(trainer: Trainer, trainee: Trainee) -> list[tuple[Document, Transfer]]:
    """Those that can be read, with what they say."""
    found = []
    for document in trainer.store.documents(KIND, trainee.key):
        try:
            found.append((document, Transfer.of(document)))
        except ValueError:
            continue
    return found


def told(trainer: Trainer, key: FunctionKey) -> list[dict[str, object]]:
    """What a function has taken over, and what became of it, oldest first; empty where the store is away."""
    from poet.sharing.transfer import transfers

    try:
        found = transfers(trainer.store, key)
    except StoreError:
        return []
    return [
        {
            "source": str(each.source),
            "phase": each.phase,
            "helps": each.helps,
            "helped": each.helped,
            "why": each.why,
        }
        for each in found
    ]
