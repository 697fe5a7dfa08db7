"""What tests of the whole house share: an agent on a virtual clock, without a thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from poet.app import Agent, build
from poet.decorator import bind
from poet.seams import Clock, Store
from poet.settings import Settings
from poet.stores.memory import MemoryStore
from poet.testing.clock import VirtualClock


class House:
    """An agent of one's own; ``poet`` decorates for it. What is learned is live at once unless told otherwise."""

    def __init__(self, *, store: Store | None = None, clock: Clock | None = None, **settings: Any) -> None:
        self.clock = VirtualClock(100.0) if clock is None else clock
        self.store = MemoryStore() if store is None else store
        values: dict[str, Any] = {"store": "memory:", "seed": 7, "rollout": "direct", **settings}
        self.agent: Agent = build(Settings(**values), store=self.store, clock=self.clock, thread=False)
        self.poet: Callable[..., Any] = bind(self.agent)


class Script:
    """A body that does what it is told, call by call: a number of seconds to take, or an error to raise."""

    def __init__(self, clock: Clock, *steps: float | BaseException) -> None:
        self.clock, self.steps, self.calls = clock, list(steps), 0

    def __call__(self) -> int:
        step = self.steps[min(self.calls, len(self.steps) - 1)]
        self.calls += 1
        if isinstance(step, BaseException):
            raise step
        self.clock.sleep(step)
        return self.calls


class Host:
    """Agents that share a store, a folder and a virtual clock, as processes of one host do."""

    def __init__(self, folder: Path, url: str, *, wall: float = 1_700_000_000.0) -> None:
        self.folder, self.url, self.clock = folder, url, VirtualClock(100.0, wall=wall)
        self.made: list[Agent] = []

    def agent(self, seed: int = 1) -> Any:
        """Another process's."""
        settings = Settings(store=self.url, root=self.folder, seed=seed, rollout="direct")
        self.made.append(build(settings, clock=self.clock, thread=False))
        return self.made[-1]

    def fetch(self, agent: Any, *steps: float | BaseException) -> Any:
        """The function ``fetch``, decorated for this agent."""
        script = Script(self.clock, *steps)

        @bind(agent)(enable_training=True, name="fetch")
        def fetch() -> int:
            return script()

        return fetch

    def close(self) -> None:
        """End all of them."""
        for agent in self.made:
            agent.close()
