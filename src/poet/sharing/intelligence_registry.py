"""The registry of functions: who is like whom, across processes and hosts that share a store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from poet.errors import (
    AmbiguousFunction,
    ConfigurationError,
    StaleDocument,
    StoreError,
    StoreUnavailable,
    UnknownFunction,
)
from poet.model.document import Document
from poet.model.function import FunctionKey
from poet.model.likeness import Fingerprint, SimilarFunction
from poet.seams import FunctionRecord, Store
from poet.sharing import collaboration, keeping, transfer
from poet.sharing.fingerprint import declared_by, of_callable, of_text, of_words
from poet.sharing.packing import Poisoned, checked
from poet.sharing.search import Index
from poet.sharing.similarity import Likeness, compare
from poet.sharing.weights import PRIOR, OddWeights, Weights, as_text, from_text, updated

Signature = str | FunctionKey | Fingerprint | Callable[..., Any]
"""A function: by the name that the command line uses, by its signature as code, by its key, or itself."""

WEIGHTS = ("similarity", "weights")  # kind and name of the document
ONE_BY_ONE = 32  # functions that changed, up to which each is asked for alone
LIKELY = 0.5  # probability that it helps, from which on learning is shared where no other is asked for
TRIES = 8  # to keep weights that others change, too


class IntelligenceRegistry:
    """What is known of all functions of a store. Safe to use from several threads.

    It reads everything once, and then only what has changed by the store's generation: so it is to be kept.
    """

    def __init__(self, store: Store, consent: transfer.Consent | None = None) -> None:
        """consent: what the flags ``share.read`` and ``share.write`` say for a function; None: the store's rows decide,
        after the environment.
        """
        self._store = store
        self.consent = consent
        self.said = ""  # why learning was shared, or not, when that was asked for last
        self._index = Index()
        self._generation = -1
        self._weights, self._weights_revision = PRIOR, 0
        self._refused: dict[FunctionKey, str] = {}
        self._names: dict[str, FunctionKey | None] | None = None
        self._lock = threading.RLock()
        self.away = ""  # why the store could not be reached when it was asked last; then what was known holds

    def find_similar_functions(self, function_signature: Signature, *, top: int = 5) -> list[SimilarFunction]:
        """The functions whose learning is likeliest to help this one, best first, each with its reasons.

        function_signature: a function of the registry by its name, or one that it does not know by its signature, as
        code: ``"fetch(url: str, timeout: float) -> bytes"``, or a whole ``def`` with its docstring; or the function
        itself. top: how many at most, >= 1.
        Raises UnknownFunction, AmbiguousFunction, ConfigurationError, StoreUnavailable.
        """
        if isinstance(top, bool) or not isinstance(top, int) or top < 1:
            raise ConfigurationError(f"top must be a whole number >= 1, got {top!r}")
        with self._lock:
            self.refresh()
            key, fingerprint = self._meant(function_signature)
            return self._index.search(fingerprint, top, weights=self._weights, without=key)

    def compare(self, source: Signature, target: Signature) -> Likeness:
        """How alike two functions are: the probability that what one learned helps the other, and the reasons."""
        with self._lock:
            self.refresh()
            a, b = self._meant(source)[1], self._meant(target)[1]
            return compare(a, b, self._weights, self._index.rarity)

    def fingerprint(self, function: Signature) -> Fingerprint:
        """What is known of a function. Raises UnknownFunction, AmbiguousFunction, ConfigurationError."""
        with self._lock:
            self.refresh()
            return self._meant(function)[1]

    def share_learning(
        self, source_function: Signature, target_function: Signature, *, confidence_threshold: float = LIKELY
    ) -> bool:
        """Let one function have what another one has learned of timeouts, retries, backoff and hedges; whether it may.

        ``said`` tells why, or why not. It becomes a prior of the target's learner, which its own calls outweigh, in
        whichever process trains it next. Values that follow from it are versions of origin ``transfer``: they are
        rolled out step by step, and withdrawn where they do harm. confidence_threshold: how probable it must be that it
        helps, in [0, 1]. Raises UnknownFunction, AmbiguousFunction, ConfigurationError.
        """
        if not isinstance(confidence_threshold, int | float) or not 0 <= confidence_threshold <= 1:
            raise ConfigurationError(f"confidence_threshold must be in [0, 1], got {confidence_threshold!r}")
        with self._lock:
            try:
                answer = self._asked(source_function, target_function, confidence_threshold)
            except (UnknownFunction, AmbiguousFunction):
                raise
            except StoreError as error:
                answer = transfer.away(error)
            self.said = answer.why
            return answer.may

    def _asked(self, source: Signature, target: Signature, threshold: float) -> transfer.Answer:
        self.refresh()
        if self.away:
            return transfer.Answer(False, f"the registry cannot be reached: {self.away}")
        (giver, theirs), (taker, ours) = self._meant(source), self._meant(target)
        if giver is None or taker is None:
            named = source if giver is None else target
            raise ConfigurationError(f"learning is shared between functions of the registry, and {named!r} is none")
        return transfer.ask(
            self._store,
            giver,
            taker,
            compare(theirs, ours, self._weights, self._index.rarity).helps.value,
            threshold=threshold,
            consent=self.consent or transfer.consent_of(self._store),
            refused=self._refused,
            behaviour=theirs.behaviour,
        )

    def key(self, function: Signature) -> FunctionKey:
        """Which function of the store is meant. Raises UnknownFunction, AmbiguousFunction, ConfigurationError."""
        with self._lock:
            self.refresh()
            key = self._meant(function)[0]
            if key is None or key not in self._index:
                raise UnknownFunction(str(function), tuple(sorted({each.name for each in self._index})))
            return key

    def teach(self, source: Signature, target: Signature, helped: float, *, weight: float = 1.0) -> Weights:
        """Learn from one transfer what likeness is worth; the weights then, which all processes share.

        helped: 1 it did, 0 it did not, or how probable that is, in [0, 1]. weight: of the outcome, in (0, 1].
        Raises ValueError, StaleDocument where others change the weights all the time, StoreUnavailable.
        """
        outcome = self.compare(source, target).outcome
        with self._lock:
            for _ in range(TRIES):
                after = updated(self._weights, outcome, helped, weight=weight)
                document = Document(*WEIGHTS, as_text(after), revision=self._weights_revision)
                try:
                    written = self._store.keep(document)
                except StaleDocument:
                    self._read_weights()
                    continue
                self._weights, self._weights_revision = after, written.revision
                return after
            raise StaleDocument("similarity weights", self._weights_revision, self._weights_revision + 1)

    @property
    def weights(self) -> Weights:
        """What each source of likeness is worth, as outcomes taught so far."""
        return self._weights

    @property
    def refused(self) -> Mapping[FunctionKey, str]:
        """Functions whose fingerprint was passed over, and why; they are known by their name alone."""
        return MappingProxyType(dict(self._refused))

    @property
    def size(self) -> int:
        """Bytes that it takes in memory."""
        return self._index.size

    def __len__(self) -> int:
        return len(self._index)

    def put(self, function: FunctionKey, fingerprint: Fingerprint) -> None:
        """Know a function in this process only, as if it were in the store. Raises Poisoned."""
        with self._lock:
            self._index.put(function, fingerprint)
            self._names = None

    def refresh(self) -> int:
        """Take in what has changed in the store since the last time; how many functions that was.

        Where the store cannot be reached, what was known holds and ``away`` says why. Raises StoreUnavailable where
        nothing was known yet.
        """
        with self._lock:
            try:
                return self._refreshed()
            except StoreUnavailable as error:
                if self._generation < 0 and not len(self._index):
                    raise
                self.away = str(error)
                return 0

    def _refreshed(self) -> int:
        if self._generation >= 0 and self._store.generation() == self._generation:
            self.away = ""
            return 0
        generation, keys = self._store.changed(self._generation)
        documents = self._documents(keys)
        new = [key for key in keys if key not in self._index]
        undescribed = any(key not in documents for key in new)
        records = {record.key: record for record in self._store.functions()} if undescribed else {}
        self._read_weights()
        self._index.put_all((key, self._told(key, documents.get(key), records.get(key))) for key in keys)
        self._generation, self.away = generation, ""
        if new:
            self._names = None
        return len(keys)

    def _documents(self, keys: list[FunctionKey]) -> dict[FunctionKey, Document]:
        if len(keys) <= ONE_BY_ONE:
            found = []
            for key in keys:
                try:
                    found += self._store.documents(keeping.KIND, key, name=keeping.NAME)
                except UnknownFunction:  # it is gone again
                    continue
        else:
            found = self._store.documents(keeping.KIND, name=keeping.NAME)
        return {each.function: each for each in found if each.function is not None}

    def _told(self, key: FunctionKey, document: Document | None, record: FunctionRecord | None) -> Fingerprint:
        self._refused.pop(key, None)
        if document is not None:
            try:
                return keeping.read(document)
            except Poisoned as error:
                self._refused[key] = str(error)
        elif record is None and (known := self._index.get(key)) is not None:
            return known  # nobody has described it yet, and what it declares was looked at before
        return _by_name(key, record)

    def _read_weights(self) -> None:
        found = self._store.documents(WEIGHTS[0], name=WEIGHTS[1])
        mine = [each for each in found if each.function is None]
        if not mine:
            return
        self._weights_revision = mine[0].revision
        try:
            self._weights = from_text(mine[0].body)
        except OddWeights as error:
            self._weights = PRIOR
            self.away = f"weights are those of the prior: {error}"

    # --- who is meant -----------------------------------------------------------------------------------------------

    def _meant(self, function: Signature) -> tuple[FunctionKey | None, Fingerprint]:
        if isinstance(function, Fingerprint):
            return None, checked(function)
        if isinstance(function, FunctionKey):
            found = self._index.get(function)
            if found is None:
                raise UnknownFunction(function.name, tuple(sorted({key.name for key in self._index})))
            return function, found
        if isinstance(function, str):
            return self._by_text(function)
        if callable(function):
            handle = getattr(function, "poet", None)
            key = getattr(handle, "key", None)
            if isinstance(key, FunctionKey) and key in self._index:
                return self._meant(key)
            return (key if isinstance(key, FunctionKey) else None), of_callable(function)
        raise ConfigurationError(f"a function is a name, a signature as code, a key or itself, got {function!r}")

    def _by_text(self, text: str) -> tuple[FunctionKey | None, Fingerprint]:
        named = self._by_names()
        if text in named:
            key = named[text]
            if key is None:
                those = sorted(str(each) for each in self._index if text in _names_of(each))
                raise AmbiguousFunction(text, tuple(those))
            return self._meant(key)
        if "(" not in text:
            raise UnknownFunction(text, tuple(sorted({key.name for key in self._index})))
        return None, of_text(text)[1]

    def _by_names(self) -> dict[str, FunctionKey | None]:
        """Each name and each of its endings; None: several functions answer to it, and none by its full name."""
        if self._names is None:
            full: dict[str, FunctionKey | None] = {}
            ends: dict[str, FunctionKey | None] = {}
            for key in self._index:
                whole, *rest = _names_of(key)
                full[str(key)] = key
                full[whole] = None if whole in full else key
                for each in rest:
                    ends[each] = None if each in ends else key
            self._names = {**ends, **full}
        return self._names


def _names_of(key: FunctionKey) -> list[str]:
    """The full name, and each ending of it after a dot."""
    parts = key.name.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))]


def _by_name(key: FunctionKey, record: FunctionRecord | None) -> Fingerprint:
    """What the key, and what is declared, tell of a function whose code nobody has described."""
    fingerprint = of_words(key.name, (), "", "")
    if record is None:
        return fingerprint
    domain, tunables = declared_by(record)
    return fingerprint._replace(domain=domain, tunables=tunables)


class CrossFunctionLearning:
    """What one function can learn from another one."""

    def __init__(
        self,
        registry: IntelligenceRegistry,
        *,
        opened: Callable[[FunctionKey], collaboration.Member | None] | None = None,
    ) -> None:
        """opened: a copy of what is known of a function's own tunables, ``poet.learners.member_of`` a store; None: it
        has none. Needed by ``collaborative_optimization`` alone.
        """
        self._registry, self._opened = registry, opened

    def collaborative_optimization(
        self, function_group: Iterable[Signature], *, tries: int = 4
    ) -> dict[str, dict[str, Any]]:
        """Plan for a group of functions what each of its members tries, once for all, and what each should use.

        Nothing is published: what comes back are ``parameters``, ``try``, ``expected``, ``trials`` and ``reasons`` by
        the member's full name. tries: sets of values that each member tries at most, >= 0.
        Raises ConfigurationError: not 2 to 64 functions with tunables, or no tunable that all have; UnknownFunction,
        AmbiguousFunction, StoreUnavailable.
        """
        if self._opened is None:
            raise ConfigurationError(
                "to plan for a group, hand in opened=, such as partial(poet.learners.member_of, store)"
            )
        members: dict[str, collaboration.Member] = {}
        for function in function_group:
            key = self._registry.key(function)
            member = self._opened(key)
            if member is None:
                raise ConfigurationError(f"{key}: it has no tunables of its own, or nothing is known of them yet")
            members[str(key)] = member
        return collaboration.optimized(members, tries=tries)

    def compute_function_similarity(self, func1_signature: Signature, func2_signature: Signature) -> float:
        """The probability, in [0, 1], that what one of the two learned helps the other: what similarity is for.

        A function and itself: 1. ``IntelligenceRegistry.compare`` gives its interval and the reasons.
        Raises UnknownFunction, AmbiguousFunction, ConfigurationError, StoreUnavailable.
        """
        registry = self._registry
        likeness = registry.compare(func1_signature, func2_signature)
        same = registry.fingerprint(func1_signature) == registry.fingerprint(func2_signature)
        return 1.0 if same else likeness.helps.value

    def transfer_learned_parameters(
        self, source_func: Signature, target_func: Signature, confidence_threshold: float = 0.8
    ) -> bool:
        """Let one function have what another one has learned, where that helps with at least this probability.

        As ``IntelligenceRegistry.share_learning``; ``said`` tells why, or why not.
        """
        return self._registry.share_learning(source_func, target_func, confidence_threshold=confidence_threshold)

    @property
    def said(self) -> str:
        """Why learning was transferred, or not, the last time."""
        return self._registry.said
