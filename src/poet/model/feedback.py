"""What a caller may tell a learner directly, without a decorated function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from poet.model.execution import Attempt


@dataclass(kw_only=False, slots=True)
class ExecutionFeedback:
    """One execution as the plan words it. Only the first four fields are needed; what is missing is unknown, not zero.

    execution_time: seconds of the whole call, >= 0.
    attempts: each attempt's outcome, seconds and pause before it; without them one attempt is assumed where the call
        succeeded, and nothing about its attempts where it failed.
    """

    function_name: str
    execution_id: str
    success: bool
    execution_time: float
    output_quality: float = 0.8
    error_type: str | None = None
    input_signature: str = ""
    domain: str | None = None
    timestamp: datetime = field(default_factory=datetime.now)
    parameters_used: Mapping[str, Any] = field(default_factory=dict)
    performance_metrics: Mapping[str, float] = field(default_factory=dict)
    user_satisfaction: float | None = None
    validation_passed: bool = True
    attempts: Sequence[Attempt] | None = None
