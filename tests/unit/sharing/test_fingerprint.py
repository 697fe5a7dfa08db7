from __future__ import annotations

import inspect
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.model.function import FunctionKey
from poet.model.tunable import Real
from poet.seams import FunctionRecord
from poet.sharing.fingerprint import MOST_TYPES, MOST_WORDS, declared_by, of_callable, of_text, of_words, tunables
from poet.sharing.lexicon import notions
from poet.sharing.packing import packed, unpacked
from poet.sharing.similarity import cosine
from poet.sharing.stems import parts, stem


def alike(a: Any, b: Any) -> float:
    return cosine(a.words, b.words, lambda _: 1.0)


def fetch_page(url: str, timeout: float = 3.0) -> bytes:
    """Download a page over HTTP.

    >>> fetch_page("secret doctest")
    b''
    """
    return b""


def test_words_with_one_meaning_share_features_though_they_share_no_letters() -> None:
    fetch, download = of_words("fetch", (), "", ""), of_words("download", (), "", "")
    assert alike(fetch, download) > 0.1
    assert alike(fetch, of_words("compress", (), "", "")) == 0.0


def test_no_text_is_kept() -> None:
    data = packed(of_callable(fetch_page))
    for word in ("fetch", "page", "download", "secret", "doctest", "url", "bytes"):
        assert word.encode() not in data.lower()


def test_doctests_say_nothing_of_a_function() -> None:
    def with_one() -> None:
        """Sort."""

    def without() -> None:
        """Sort.

        >>> len("compress")
        8
        """

    assert of_callable(with_one, "f").words == of_callable(without, "f").words


def test_names_with_underscores_and_capitals_read_alike() -> None:
    assert parts("parseHTTPResponse") == parts("parse_http_response") == ["parse", "http", "response"]
    assert of_words("a.parseHTTPResponse", (), "", "").words == of_words("a.parse_http_response", (), "", "").words


def test_a_signature_as_code_reads_as_the_function_itself() -> None:
    name, told = of_text(inspect.getsource(fetch_page))
    assert name == "fetch_page"
    assert told.types == of_callable(fetch_page).types
    assert told.words == of_callable(fetch_page, "fetch_page").words


@pytest.mark.parametrize(
    "text",
    [
        "fetch(url: str) -> bytes",
        "shop.net.fetch(url: str) -> bytes",
        "def fetch(url: str) -> bytes",
        "async def fetch(url: str) -> bytes: ...",
        "def fetch(url: str) -> bytes:\n    return b''",
    ],
)
def test_a_signature_may_be_written_in_several_ways(text: str) -> None:
    name, told = of_text(text)
    assert name.rpartition(".")[2] == "fetch"
    assert told.types == of_text("fetch(url: str) -> bytes")[1].types


@pytest.mark.parametrize(
    "text", ["fetch(", "x = 1", "", "def f(): pass\ndef g(): pass", "f(" + "x" * 30_000 + ")", "f(\0)", "lambda: 1("]
)
def test_what_is_no_signature_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match="signature"):
        of_text(text)


def test_code_in_a_signature_is_never_run() -> None:
    of_text("f(x: __import__('sys').exit() = __import__('sys').exit()) -> 1 / 0")


def test_bounds_in_annotations_are_no_types() -> None:
    def plain(k: float = 0.5) -> None: ...

    def tuned(k: Annotated[float, Real(0, 1)] = 0.5) -> None: ...

    tuned.__annotations__["k"] = Annotated[float, Real(0, 1)]
    assert of_callable(plain, "f").types == of_callable(tuned, "f").types


def test_odd_functions_have_a_fingerprint_too() -> None:
    class Odd:
        __doc__ = property(lambda _: 1 / 0)  # type: ignore[assignment]

        def __call__(self) -> None: ...

    for function in (Odd(), len, "".join, dict, int.from_bytes, print):
        told = of_callable(function)  # type: ignore[arg-type]
        assert unpacked(packed(told)) == told


@settings(deadline=None)
@given(st.text(max_size=80), st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20), st.text(max_size=9))))
def test_any_words_make_a_fingerprint_of_bounded_size(doc: str, parameters: list[tuple[str, str, str]]) -> None:
    told = of_words(doc, parameters, doc, doc * 40)
    assert len(told.words) <= MOST_WORDS
    assert len(told.types) <= MOST_TYPES
    assert unpacked(packed(told)) == told


@settings(deadline=None)
@given(st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=20))
def test_a_stem_is_a_beginning_of_its_word(word: str) -> None:
    assert word.startswith(stem(word))
    assert stem(word)


def test_every_notion_has_words() -> None:
    assert len(notions()) > 500
    assert all(numbers for numbers in notions().values())


def test_domain_and_tunables_come_from_the_record() -> None:
    record = FunctionRecord(
        FunctionKey("m", "f", "00000000"),
        "financial_services",
        "adaptive",
        {"timeout": 1.0, "k": 3, "t": 0.5, "model": "a"},
        {},
        0,
        0,
        0.0,
        0.0,
        space={"timeout": (0.1, 5.0), "k": (1, 64), "t": (0.0, 1.0)},
        choices={"model": ("a", "b")},
    )
    domain, own = declared_by(record)
    assert domain != 0
    assert sorted(each.kind for each in own) == [0, 1, 2]  # not the timeout, which every function has
    assert {(each.low, each.high) for each in own if each.kind < 2} == {(1.0, 64.0), (0.0, 1.0)}


def test_a_range_that_is_none_makes_a_tunable_without_a_range() -> None:
    told = tunables({"k": 1.0}, {"k": (float("nan"), float("inf"))})
    assert (told[0].low, told[0].high) == (0.0, 0.0)
