from __future__ import annotations

import os
from pathlib import Path

import pytest

from poet.stores.legacy_files import may_have_parameters
from poet.stores.legacy_json import legacy_parameters


@pytest.mark.parametrize("place", [Path(".poet"), Path("home") / ".opendxa" / "poet"])
def test_a_file_is_seen_wherever_it_would_be_read(place: Path, tmp_path: Path) -> None:
    asked = ("shop.ask", "webshop", tmp_path, tmp_path / "home")
    assert not may_have_parameters(*asked)
    assert legacy_parameters(*asked) is None
    folder = tmp_path / place
    folder.mkdir(parents=True)
    assert not may_have_parameters(*asked)
    (folder / "ask_webshop_params.json").write_text("{}")
    assert may_have_parameters(*asked)
    assert legacy_parameters(*asked) is not None


@pytest.mark.parametrize("name", ["", "a/b", "shop.", "nul\0"])
def test_a_name_that_no_file_can_have_has_none(name: str, tmp_path: Path) -> None:
    assert not may_have_parameters(name, None, tmp_path, tmp_path)


def test_what_cannot_be_looked_at_is_left_to_who_reads_it(tmp_path: Path) -> None:
    (tmp_path / ".poet").write_text("a file, where a folder should be")
    os.symlink(tmp_path / "nowhere", tmp_path / "loose")
    assert may_have_parameters("ask", None, tmp_path, tmp_path)
    assert not may_have_parameters("ask", None, tmp_path / "loose", tmp_path / "loose")
