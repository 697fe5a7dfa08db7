from __future__ import annotations

import subprocess
import sys

import pytest

from poet import legacy


def test_every_name_that_is_offered_is_there_and_listed() -> None:
    assert sorted(legacy.__all__) == sorted(legacy._HOME_OF)
    for name in legacy.__all__:
        assert getattr(legacy, name) is not None
        assert name in dir(legacy)


def test_a_name_that_is_not_offered_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'poet\.legacy' has no attribute 'feedback'"):
        legacy.feedback  # noqa: B018


def test_importing_all_names_loads_no_numpy_and_opens_no_store() -> None:
    code = (
        "import sys; from poet.legacy import *; from poet.decorator import _default; "
        "collector = get_global_collector(); config = POETConfig(); poet_with_config(config)(lambda: None); "
        "assert not {'numpy', 'sqlite3'} & set(sys.modules); assert _default.trainer is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
