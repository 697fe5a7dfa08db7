"""What a person does to a roll-out, through the store alone: every process follows, whether or not one runs here."""

from __future__ import annotations

from collections.abc import Mapping

from poet.errors import ConfigurationError
from poet.model.document import Document
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet, Standing
from poet.model.rollout import KIND, Phase, Rollout, RolloutPolicy
from poet.model.tunable import Value
from poet.seams import Store
from poet.training.trials import begin


def open_rollout(standing: Standing) -> tuple[Rollout, Document] | None:
    """The function's roll-out that is open, and the document that keeps it. Raises ValueError: it cannot be read."""
    for document in standing.steering:
        if document.kind == KIND:
            return Rollout.of(document), document
    return None


def propose(
    store: Store,
    key: FunctionKey,
    values: Mapping[str, Value],
    *,
    author: str,
    reason: str,
    now: float,
    policy: RolloutPolicy | None = None,
) -> Standing:
    """Begin to roll out the live values changed to ``values``, which must be within bounds. now: Unix time [s].

    Raises ConfigurationError where nothing would change, or another one is open; StaleParameters, UnknownFunction.
    """
    standing = store.standing(key)
    live = standing.live
    draft = ParameterSet(
        values_={**live, **values}, parent=live.version, origin="manual", author=author, reason=reason, created=now
    )
    if dict(draft) == dict(live):
        raise ConfigurationError(f"{key.name} has these values already: {_listed(values)}")
    return roll_out(store, key, standing, draft, now=now, policy=policy)


def roll_out(
    store: Store,
    key: FunctionKey,
    standing: Standing,
    draft: ParameterSet,
    *,
    now: float,
    policy: RolloutPolicy | None = None,
) -> Standing:
    """Begin to roll out ``draft``, made from this ``standing``. policy: None: the usual one. now: Unix time [s].

    Raises ConfigurationError where another one is open; StaleParameters, UnknownFunction.
    """
    refuse_second(standing, key)
    begun = begin(standing.live, draft, policy or RolloutPolicy(), now)
    return store.publish(key, draft, expected=standing.generation, alias="canary", beside=[begun.document(key)])


def promote(store: Store, key: FunctionKey, *, author: str, reason: str, now: float) -> Standing:
    """All calls get the new version, at once, and it is done. Raises ConfigurationError: nothing is rolled out."""
    standing, rollout, document = _found(store, key)
    ended = _ended(rollout, document, key, "done", reason, now)
    if rollout.phase == "bake":
        store.keep(ended)
        return store.standing(key)
    return store.point(
        key,
        "live",
        rollout.version,
        expected=standing.generation,
        author=author,
        reason=reason,
        beside=[ended],
    )


def withdraw(store: Store, key: FunctionKey, *, author: str, reason: str, now: float) -> Standing:
    """All calls get the version of before. Raises ConfigurationError: nothing is rolled out."""
    standing, rollout, document = _found(store, key)
    ended = _ended(rollout, document, key, "withdrawn", reason, now)
    if rollout.phase == "bake":
        return store.rollback(key, rollout.base, author=author, reason=reason, beside=[ended], pause=False)
    return store.point(key, "canary", None, expected=standing.generation, author=author, reason=reason, beside=[ended])


def hold(store: Store, key: FunctionKey, *, author: str, reason: str, now: float) -> Standing:
    """It goes no further: all calls have the live version. Raises ConfigurationError: nothing is rolled out."""
    _, rollout, document = _found(store, key)
    if rollout.paused:
        raise ConfigurationError(f"the roll-out of {key.name} is paused already: {rollout.paused}")
    why = f"{reason} ({author})"
    store.keep(rollout.noted(now, "paused", why, paused=why).document(key, document.revision))
    return store.standing(key)


def go_on(store: Store, key: FunctionKey, *, author: str, reason: str, now: float) -> Standing:
    """It goes on where it was paused, its guards with what they had seen; what was only proposed becomes the canary.

    Raises ConfigurationError where it is neither.
    """
    _, rollout, document = _found(store, key)
    if not rollout.paused and rollout.phase != "proposed":
        raise ConfigurationError(f"the roll-out of {key.name} is not paused")
    phase: Phase = "canary" if rollout.phase == "proposed" else rollout.phase
    after = rollout.noted(now, "goes on", f"{reason} ({author})", paused="", phase=phase, verdict="undecided")
    store.keep(after.document(key, document.revision))
    return store.standing(key)


def refuse_second(standing: Standing, key: FunctionKey) -> None:
    """Raises ConfigurationError where a roll-out or an experiment of the function is open: there is one at a time."""
    for document in standing.steering:
        ends = f"rollout {key.name} --promote or --withdraw"
        if document.kind != KIND:
            ends = f"experiment stop {document.name}"
        raise ConfigurationError(
            f"{key.name} has an open {document.kind}, {document.name}, and there is one at a time: poet {ends} ends it"
        )


def _found(store: Store, key: FunctionKey) -> tuple[Standing, Rollout, Document]:
    standing = store.standing(key)
    found = open_rollout(standing)
    if found is None:
        raise ConfigurationError(f"nothing is being rolled out of {key.name}")
    return standing, *found


def _ended(rollout: Rollout, document: Document, key: FunctionKey, phase: Phase, reason: str, now: float) -> Document:
    return rollout.noted(now, phase, reason, phase=phase, sentence=reason, paused="").document(key, document.revision)


def _listed(values: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in values.items())
