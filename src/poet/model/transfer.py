"""What one function takes over from another one: asked for, taken, judged; kept as a document of who takes it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from poet.model.document import Document
from poet.model.function import FunctionKey

KIND = "transfer"  # of the documents, whose name is the source's
Phase = Literal["asked", "taken", "refused", "done", "withdrawn"]
PHASES: tuple[Phase, ...] = ("asked", "taken", "refused", "done", "withdrawn")
OPEN = ("asked", "taken")
_LONGEST_REASON = 500  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One function's learning on its way to another."""

    source: FunctionKey
    target: FunctionKey
    helps: float  # how probable it was that it helps, when it was asked for, in [0, 1]
    asked: float  # Unix time [s]
    phase: Phase = "asked"
    why: str = ""  # what was decided last, as a sentence
    calls: int = 0  # of the target, when it was taken
    helped: float | None = None  # how probable it is after own calls that it did, in [0, 1]; None: not known yet

    def now(self, phase: Phase, why: str, **changes: Any) -> Transfer:
        """It, in another phase."""
        return replace(self, phase=phase, why=why[:_LONGEST_REASON], **changes)

    def document(self, revision: int = 0) -> Document:
        """To be kept."""
        told = {
            "source": list(self.source),
            "helps": self.helps,
            "asked": self.asked,
            "phase": self.phase,
            "why": self.why,
            "calls": self.calls,
            "helped": self.helped,
        }
        name = str(self.source)[-200:]
        return Document(KIND, name, json.dumps(told), self.target, open=self.phase in OPEN, revision=revision)

    @classmethod
    def of(cls, document: Document) -> Transfer:
        """From a document, which anyone may have written. Raises ValueError where it is none."""
        try:
            told = json.loads(document.body)
            source = FunctionKey(*told["source"])
            named = document.function is not None and all(isinstance(part, str) for part in source)
            helped = told["helped"]
            found = cls(
                source=source,
                target=document.function or source,
                helps=_share(told["helps"]),
                asked=float(told["asked"]),
                phase=told["phase"],
                why=str(told["why"]),
                calls=int(told["calls"]),
                helped=None if helped is None else _share(helped),
            )
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"no document of a transfer: {error}") from None
        if not named or found.phase not in PHASES or found.calls < 0 or not math.isfinite(found.asked):
            raise ValueError(f"no document of a transfer: phase {found.phase!r}, {found.calls!r} calls")
        return found


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"a probability must be in [0, 1], got {value!r}")
    return float(value)
