"""The configuration objects of the original POET, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from poet.decorator import POSITIONAL
from poet.errors import ConfigurationError
from poet.options import USABLE, Algorithm, Options

ARGUMENTS = USABLE[:POSITIONAL]
"""What the original's decorator took, in the order of its positional arguments."""


@dataclass(eq=False)
class POETConfig:
    """The arguments of ``poet`` as an object, by the same names; ``poet`` says what each means.

    Its fields may be set, as existing code does so; they are checked when it is made and again when a function is
    decorated with it, and changing it later changes no function. Raises ConfigurationError.

    The last three fields are no arguments. They never had an effect: feedback comes from real calls only, and anything
    else that is asked for is refused.
    """

    retries: int = 3
    timeout: float = 30.0
    domain: str | None = None
    enable_training: bool = False
    collect_metrics: bool = True
    learning_algorithm: Algorithm = "basic"
    learning_rate: float = 0.05
    convergence_threshold: float = 0.01
    enable_cross_function_learning: bool = False
    performance_tracking: bool = True
    feedback_mode: str = field(default="real_world", init=False)
    enable_simulation_feedback: bool = field(default=False, init=False)
    simulation_confidence_threshold: float = field(default=0.6, init=False)
    _profile_name: str | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.arguments()

    def arguments(self) -> dict[str, Any]:
        """The arguments of ``poet`` that it stands for. Raises ConfigurationError where one of them cannot be."""
        if self.feedback_mode != "real_world" or self.enable_simulation_feedback is not False:
            raise ConfigurationError(
                f"feedback comes from real calls only, got feedback_mode={self.feedback_mode!r} and "
                f"enable_simulation_feedback={self.enable_simulation_feedback!r}: leave both as they are"
            )
        given = {name: getattr(self, name) for name in ARGUMENTS}
        Options(**given)
        return given


@dataclass(eq=False)
class EnhancedPOEConfig(POETConfig):
    """The same, with statistical learning as its default."""

    learning_algorithm: Algorithm = "statistical"


POEConfig = SimplePOETConfig = POETConfig
