"""The code in README.md and docs runs: each page's blocks in order, in a folder and a store of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import poet


def _begin(namespace: dict[str, Any]) -> None:
    namespace["_home"], namespace["_folder"] = os.getcwd(), tempfile.TemporaryDirectory()
    os.chdir(namespace["_folder"].name)
    poet.configure(store="memory:")


def _end(namespace: dict[str, Any]) -> None:
    poet.configure(store="memory:")
    os.chdir(namespace["_home"])
    namespace["_folder"].cleanup()


@pytest.fixture(autouse=True)
def _examples_leave_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Examples in docstrings keep their store in memory, and not in the folder from which the tests are run."""
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    poet.configure(store="memory:")
    yield
    poet.configure(store="memory:")


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/**/*.md"],
    setup=_begin,
    teardown=_end,
).pytest()
