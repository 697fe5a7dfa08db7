"""Questions to language models: short and long prompts get a sentence more, and an empty answer is none.

Prompts and answers are neither stored nor quoted in a message.
"""

from __future__ import annotations

from typing import Any, Final

from poet.domains.table import Quantity, TableDomain

SHORT, LONG = 20, 200  # below, above: such prompts are improved [characters]
PREFACE: Final = "Please provide a detailed and accurate response to: "
STRUCTURE: Final = "\n\nPlease structure your response clearly with key points."
STRUCTURED: Final = ("step", "list", "format")  # a long prompt with one of them has said how it wants its answer


def improve(prompt: Any) -> Any:
    """``prompt``, with a preface where it is short, with a closing sentence where it is long and asks for no form.

    Blank prompts, and what is no text (a list of messages, say), stay as they are.

    >>> improve("Help")
    'Please provide a detailed and accurate response to: Help'
    """
    if not isinstance(prompt, str):
        return prompt
    text = prompt.strip()
    if not text:
        return prompt
    if len(text) < SHORT:
        return PREFACE + text
    if len(text) > LONG and not text.endswith(STRUCTURE.strip()):
        words = text.lower()
        if not any(word in words for word in STRUCTURED):
            return text + STRUCTURE
    return prompt


def answered(answer: Any) -> Any:
    """``answer``, the same object. Raises ValueError where it is None or blank."""
    if answer is None:
        raise ValueError("no answer: None")
    if isinstance(answer, str | bytes) and not answer.strip():
        raise ValueError("an empty answer")
    return answer


DOMAIN: Final = TableDomain(
    name="llm_optimization",
    quantities=(Quantity("prompt", improve, "a text", aliases=("user_prompt",)),),
    enforce=answered,
)
