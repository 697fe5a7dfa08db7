"""POET's flags through OpenFeature: ``openfeature.api.set_provider(PoetProvider())``.

For code that asks all its flags through one API: what ``poet flags`` says is what a client gets. Needs the extra
``flags``. Evaluated off the call path of decorated functions, which do not know of it.

The SDK calls a provider's methods by the names of their arguments and, where they raise, gives the caller's default: so
what is no flag, or is asked for as another type, raises the SDK's own error, which the details then tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

try:
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.exception import FlagNotFoundError, InvalidContextError, TypeMismatchError
    from openfeature.flag_evaluation import FlagResolutionDetails, Reason
    from openfeature.provider import AbstractProvider, Metadata
except ImportError as error:
    raise ImportError("poet.openfeature needs openfeature-sdk: pip install 'poet-runtime[flags]'") from error

from poet.errors import ConfigurationError, PoetError
from poet.model.flag import ON, Rule, Whom, flag
from poet.training.flags import Decided, Flags

if TYPE_CHECKING:
    from openfeature.flag_evaluation import FlagValueType

    from poet.app import Agent


class PoetProvider(AbstractProvider):
    """Tells what POET's flags say in this process.

    As a boolean a flag is true where it is ``on``; as a string it is its phase; as an object it is both, with the
    source. Numbers it has none. The evaluation context says whom it is for: ``function`` (or the targeting key),
    ``host`` and ``tenant``; those that it does not name are this process's own.
    """

    def __init__(self, agent: Agent | None = None) -> None:
        """agent: whose flags; None: those of ``@poet``."""
        super().__init__()
        if agent is None:
            from poet.decorator import _default

            agent = _default
        self._agent = agent
        self._alone: Flags | None = None  # where no trainer looks at them

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Open the store, so that its rows are known; without it, environment, file and defaults decide."""
        if self._agent.settings.learning != "off":
            try:
                self._agent.open()
            except PoetError as error:
                self._agent.fault("flags", error)

    def get_metadata(self) -> Metadata:
        """Its name."""
        return Metadata("poet")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Whether the flag is on."""
        decided = self._decided(flag_key, evaluation_context)
        return FlagResolutionDetails(decided.value == ON, **_details(flag_key, decided))

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Its phase."""
        decided = self._decided(flag_key, evaluation_context)
        return FlagResolutionDetails(decided.value, **_details(flag_key, decided))

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """No flag is a number. Raises TypeMismatchError."""
        self._no_number(flag_key, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """No flag is a number. Raises TypeMismatchError."""
        self._no_number(flag_key, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """``{"on": True, "value": "on", "source": "row"}``."""
        decided = self._decided(flag_key, evaluation_context)
        on = decided.value == ON
        told: Mapping[str, FlagValueType] = {"on": on, "value": decided.value, "source": decided.source}
        return FlagResolutionDetails(told, **_details(flag_key, decided))

    def _no_number(self, flag_key: str, context: EvaluationContext | None) -> NoReturn:
        value = self._decided(flag_key, context).value
        raise TypeMismatchError(f"{flag_key} is {value!r}: ask for a string, or for a boolean")

    def _decided(self, flag_key: str, context: EvaluationContext | None) -> Decided:
        flags = self._flags()
        attributes: Mapping[str, Any] = {} if context is None else context.attributes
        key = "" if context is None else context.targeting_key or ""
        named = {
            "function": attributes.get("function", key),
            "host": attributes.get("host", flags.host),
            "tenant": attributes.get("tenant", flags.tenant),
        }
        for name, value in named.items():
            if not isinstance(value, str):
                raise InvalidContextError(f"{name} must be a name, got {value!r}")
        try:
            return flags.decided(flag_key, Whom(**named))
        except ConfigurationError as error:
            raise FlagNotFoundError(str(error)) from error

    def _flags(self) -> Flags:
        trainer = self._agent.trainer
        if trainer is not None:
            return trainer.flags
        if self._alone is None:
            self._alone = Flags(
                self._agent.settings, self._agent.clock, self._agent.fault, host=self._agent.report().host
            )
        self._alone.refresh()
        return self._alone


def _details(name: str, decided: Decided) -> dict[str, Any]:
    return {
        "variant": decided.value,
        "reason": _reason(decided),
        "flag_metadata": {"source": decided.source, "default": flag(name).default},
    }


def _reason(decided: Decided) -> Reason:
    rule = decided.rule
    if rule is None:
        return Reason.DEFAULT
    if rule.percent < 100:
        return Reason.SPLIT
    return Reason.STATIC if rule == Rule(rule.value) else Reason.TARGETING_MATCH
