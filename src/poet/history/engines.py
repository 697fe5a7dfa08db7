"""Where the parts of an analysis run: in this process, in several on this machine, or as tasks of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Literal, get_args

from poet.errors import ConfigurationError, nearest
from poet.seams import Engine

Name = Literal["local", "ray"]
NAMES: tuple[Name, ...] = get_args(Name)
AGAIN = 3  # times that Ray does a task anew whose worker died


def engine(name: str, workers: int | None = None, address: str | None = None) -> Engine:
    """The engine of that name. workers: processes, >= 1; None: one for each core.

    address: of a Ray cluster, such as "ray://head:10001"; None: one that is started here, and ends with the analysis.
    Raises ConfigurationError, ImportError without Ray.
    """
    if name not in NAMES:
        raise ConfigurationError(f"no engine {name!r}: {nearest(name, NAMES)}")
    if workers is not None and workers < 1:
        raise ConfigurationError(f"workers must be 1 or more, got {workers!r}")
    number = workers or os.cpu_count() or 1
    if name == "local":
        if address is not None:
            raise ConfigurationError(f"an address is for the engine 'ray', got {address!r} for 'local'")
        return Local(number)
    return Ray(number, address)


class Local:
    """This machine: one worker is this process, more are processes of their own."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def map(self, task: Callable[[Any], Any], parts: Sequence[Any]) -> list[Any]:
        """See ``Engine``."""
        if self.workers == 1 or len(parts) == 1:
            return [task(part) for part in parts]
        from concurrent.futures import ProcessPoolExecutor  # here, as most analyses do without
        from multiprocessing import get_context

        # Not forked: a process that has threads may not be.
        with ProcessPoolExecutor(min(self.workers, len(parts)), get_context("spawn")) as pool:
            return list(pool.map(task, parts))

    def close(self) -> None:
        """See ``Engine``."""


class Ray:
    """Tasks on a Ray cluster: one that is there already, or one of this machine that lives as long as this object."""

    def __init__(self, workers: int, address: str | None = None) -> None:
        try:
            self._ray: Any = import_module("ray")
        except ImportError as error:
            raise ImportError("the engine 'ray' needs Ray: pip install 'poet-runtime[ray]'") from error
        self._mine = not self._ray.is_initialized()
        if not self._mine:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray tells its makers of every use
        if address is None:
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of a change to come
            self._ray.init(
                address="local",  # else a cluster that a file of the machine's temporary folder names would be joined
                num_cpus=workers,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
            )
        else:
            self._ray.init(address=address, log_to_driver=False, logging_level="error")

    def map(self, task: Callable[[Any], Any], parts: Sequence[Any]) -> list[Any]:
        """See ``Engine``."""
        go = self._ray.remote(max_retries=AGAIN)(_do)
        found: list[Any] = self._ray.get([go.remote(task, part) for part in parts])
        return found

    def close(self) -> None:
        """See ``Engine``."""
        if self._mine and self._ray.is_initialized():
            self._ray.shutdown()


def _do(task: Callable[[Any], Any], part: Any) -> Any:
    """What a worker is sent: a task goes by its name, and must be importable there."""
    return task(part)
