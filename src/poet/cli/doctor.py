"""Is all well? The store, the processes that use it, the settings in force and where each comes from."""

from __future__ import annotations

import os
import platform
import sqlite3
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from poet.cli import flags, views
from poet.cli.views import Document
from poet.errors import ConfigurationError, StoreError
from poet.seams import Finding, Store
from poet.settings import Settings, is_served, shown_store, store_path


def examine(
    store_url: str | None,
    opening: Callable[[Settings], Store],
    *,
    environ: Mapping[str, str],
    start: Path,
    now: float,
) -> Document:
    """Everything that can be found without changing anything; what cannot be opened is a finding, too.

    store_url: the store that was asked for, or None for the project's own.
    """
    overrides = {"store": store_url} if store_url else {}
    try:
        settings = Settings.load(environ=environ, start=start, **overrides)
    except ConfigurationError as error:
        return views.doctor([Finding(False, "settings", str(error))], {}, software(), store=None, now=now)
    findings = [Finding(True, "settings", f"understood, for the project in {settings.root}")]
    findings += store_findings(settings, opening, now)
    sources = {
        name: (shown_store(settings) if name == "store" else plain_setting(getattr(settings, name)), source)
        for name, source in setting_sources(settings, environ, store_url).items()
    }
    return views.doctor(findings, sources, software(), store=shown_store(settings), now=now)


def store_findings(settings: Settings, opening: Callable[[Settings], Store], now: float) -> list[Finding]:
    """What is to say of the store and of the processes that reported to it."""
    path = store_path(settings)
    if path is None and not is_served(settings):
        return [Finding(True, "store", "kept in memory: what is learned is lost when its process ends")]
    if path is not None and not exists(path):
        return [_can_be_made(path)]
    try:
        store = opening(settings)
    except StoreError as error:
        return [Finding(False, "store", str(error))]
    try:
        known = len(store.functions())
        said = "no function recorded yet" if not known else f"{known} functions recorded" if known > 1 else "1 function"
        opened = Finding(True, "store", f"{store.url} opens, {said}")
        return [
            opened,
            *store.check(),
            *views.process_findings(store.processes(), now),
            flags.findings(store, settings),
        ]
    except StoreError as error:
        return [Finding(False, "store", str(error))]
    finally:
        store.close()


def exists(path: Path) -> bool:
    """Whether something is there; what may not be looked at counts as there, so that opening it says why."""
    try:
        return path.exists()
    except OSError:
        return True


def _can_be_made(path: Path) -> Finding:
    folder = next(parent for parent in path.parents if exists(parent))
    if not folder.is_dir():
        return Finding(False, "store", f"{path} can never be made: {folder} is no folder; name another store")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(False, "store", f"{path} cannot be made: {folder} is not writable; make it so or set POET_STORE")
    return Finding(True, "store", f"{path} does not exist yet: the first recorded call makes it")


def setting_sources(settings: Settings, environ: Mapping[str, str], store_url: str | None) -> dict[str, str]:
    """Where each setting comes from, by name."""
    sources = {field.name: "default" for field in fields(Settings)}
    sources["root"] = "the nearest folder with a .poet, a pyproject.toml or a .git"
    pyproject = settings.root / "pyproject.toml"
    try:
        table = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("tool", {}).get("poet", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):  # then nothing was taken from it
        table = {}
    sources.update({key.replace("-", "_"): f"[tool.poet] in {pyproject}" for key in table})
    for name, variable in (
        ("store", "POET_STORE"),
        ("learning", "POET_LEARNING"),
        ("tenant", "POET_TENANT"),
        ("flags", "POET_FLAGS"),
    ):
        if environ.get(variable):
            sources[name] = f"environment: {variable}"
    if store_url:
        sources["store"] = "argument: --store"
    return sources


def plain_setting(x: object) -> str | int | float | bool | None:
    """A setting as JSON can say it."""
    return x if x is None or isinstance(x, str | int | float) else str(x)


def software() -> dict[str, str]:
    """The versions that matter to whoever is asked for help."""
    return {
        "poet": poet_version(),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.machine()}",
    }


def poet_version() -> str:
    """The installed release."""
    try:
        return version("poet-runtime")
    except PackageNotFoundError:
        return "not installed"
