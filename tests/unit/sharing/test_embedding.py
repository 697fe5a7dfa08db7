from __future__ import annotations

import pytest

from poet.errors import ConfigurationError
from poet.sharing import embedding
from poet.sharing.similarity import meanings_alike


def test_what_is_read_is_the_name_in_words_and_the_start_of_the_docstring() -> None:
    doc = "fetch(url) -> bytes\n\nDownload a page.\nOver HTTP.\n\n>>> fetch('x')\n" + "More of it. " * 200
    told = embedding.text_of("shop.net.fetchPage", doc)
    assert told.startswith("fetch page: Download a page")
    assert ">>>" not in told
    assert len(told) < embedding.MOST_CHARACTERS + 40


def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "MODEL_PACKAGE", "no_such_package")
    embedding._loaded.cache_clear()
    assert not embedding.available()
    with pytest.raises(ConfigurationError, match=r"poet-runtime\[embedding\]"):
        embedding.meaning("fetch a page")


def test_meanings_compare_by_their_angle_and_only_with_their_kind() -> None:
    one = bytes([100, 20, 0, 156])  # 156: -100
    assert meanings_alike(one, one)[0] == pytest.approx(0.9)
    opposite = bytes([156, 236, 0, 100])
    assert meanings_alike(one, opposite)[0] == -1.0
    assert meanings_alike(one, one + b"x")[0] is None
    assert meanings_alike(one, b"")[0] is None
    assert meanings_alike(bytes(4), one)[0] == pytest.approx(-0.1)
