from __future__ import annotations

import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.domains.llm_optimization import DOMAIN, PREFACE, STRUCTURE


def ask(prompt: str, model: str = "small") -> str:
    return prompt


PERCEIVE, ENFORCE = DOMAIN.for_function(inspect.signature(ask))
assert PERCEIVE is not None
assert ENFORCE is not None


def read(prompt: Any) -> Any:
    assert PERCEIVE is not None
    by_place, by_name = PERCEIVE(prompt, model="large"), PERCEIVE(prompt=prompt)
    assert by_place == ((by_name[1]["prompt"],), {"model": "large"})
    return by_place[0][0]


def test_a_short_prompt_gets_a_preface() -> None:
    assert read("Help") == "Please provide a detailed and accurate response to: Help"
    assert read("  Help \n") == PREFACE + "Help"
    assert read("x" * 19) == PREFACE + "x" * 19


def test_a_long_prompt_without_a_form_is_asked_for_one() -> None:
    assert read("why " * 51) == ("why " * 51).strip() + STRUCTURE
    assert read(read("why " * 51)) == read("why " * 51)
    assert read("x" * 201) == "x" * 201 + STRUCTURE


@pytest.mark.parametrize("word", ["step", "List", "FORMAT", "formatted"])
def test_a_long_prompt_that_says_its_form_stays(word: str) -> None:
    prompt = "why " * 51 + word
    assert read(prompt) is prompt


@pytest.mark.parametrize(
    "prompt", ["x" * 20, "  " + "x" * 200 + "\n", "", "  ", ["Help"], [{"role": "user", "content": "Help"}], 5]
)
def test_every_other_prompt_stays_as_it_is(prompt: Any) -> None:
    assert read(prompt) is prompt


@given(st.text(max_size=400))
def test_a_prompt_is_kept_whole_and_improved_once(prompt: str) -> None:
    better = read(prompt)
    assert prompt.strip() in better
    assert read(better) is better


def test_a_function_without_a_prompt_is_asked_nothing() -> None:
    def embed(text: str) -> list[float]:
        return []

    assert DOMAIN.for_function(inspect.signature(embed)).perceive is None


@pytest.mark.parametrize("answer", ["ok", "  4 ", 0, [], {}, b"x", False])
def test_an_answer_passes_as_the_very_same_object(answer: Any) -> None:
    assert ENFORCE(answer) is answer


@pytest.mark.parametrize("answer", [None, "", "  \n", b"", b" "])
def test_an_empty_answer_is_rejected(answer: Any) -> None:
    with pytest.raises(ValueError, match="answer"):
        ENFORCE(answer)
