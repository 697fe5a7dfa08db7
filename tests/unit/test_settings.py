from __future__ import annotations

from pathlib import Path

import pytest

from poet.errors import ConfigurationError
from poet.settings import Settings, project_root, store_path


def test_defaults_environment_table_and_caller_each_override_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.poet]\nlearning = "observe"\nbuffer = 5\nstore-interval = 2.0\n')
    table = Settings.load(environ={}, start=tmp_path)
    assert (table.learning, table.buffer, table.store_interval, table.root) == ("observe", 5, 2.0, tmp_path.resolve())
    environ = {"POET_LEARNING": "OFF", "POET_STORE": "memory:"}
    settings = Settings.load(environ=environ, start=tmp_path, buffer=7)
    assert (settings.learning, settings.store, settings.buffer) == ("off", "memory:", 7)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"learning": "maybe"}, "learning must be off, observe or on, got 'maybe'"),
        ({"buffer": 0}, "buffer must be a whole number >= 1"),
        ({"train_interval": 0}, "train_interval must be in"),
        ({"cpu_share": 2}, "cpu_share must be in"),
        ({"store": "mysql://x"}, "store must be 'memory:', 'sqlite:///path'"),
        ({"poll_interval": 0}, "poll_interval must be in"),
        ({"keep_executions": 0}, "keep_executions must be in"),
        ({"keep_hours": float("nan")}, "keep_hours must be in"),
        ({"tenant": 7}, "tenant must be a text"),
        ({"embedding": "yes"}, "embedding must be true or false"),
        ({"store": "sqlite:///"}, "store must be"),
        ({"stor": "memory:"}, "no setting 'stor': did you mean 'store'"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused_with_the_nearest_right_ones(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Settings.load(environ={}, **values)


def test_a_broken_project_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.poet\n")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Settings.load(environ={}, start=tmp_path)


def test_the_store_belongs_to_the_project_not_to_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert project_root(inner) == tmp_path.resolve()
    assert store_path(Settings.load(environ={}, start=inner)) == tmp_path.resolve() / ".poet" / "poet.db"
    assert store_path(Settings(store="sqlite:////var/x.db", root=tmp_path)) == Path("/var/x.db")
