"""The pictures of docs/explanation/how-it-learns.md, drawn by the code that they explain.

`python -m benchmarks.pictures` plays lives in simulated services, each fixed by its seed, in some ten seconds.
Redrawing gives the same bytes as long as neither the code nor the versions in the lock change. Colours are those of
Okabe & Ito 2008, which the colour-blind tell apart, and cividis.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from benchmarks.ours import DECLARED, SPACE
from poet.kernels.online.bins import EDGES, RATIO
from poet.kernels.online.survival import KNOTS
from poet.learning.choice import Wish
from poet.learning.evidence import Evidence
from poet.learning.folding import Picture
from poet.learning.guesses import Plan as Candidate
from poet.learning.guesses import drawn_worlds, mean_world, scored
from poet.learning.online_learner import OnlineLearner
from poet.model.execution import Execution
from poet.model.tunable import Space
from poet.settings import BACKOFF_CAP
from poet.sim.evaluate import evaluate, oracle_series
from poet.sim.play import perform, play
from poet.sim.scenarios import SCENARIOS, Scenario
from poet.sim.services import Dice, Plan
from poet.testing.learners import Learned

FOLDER = Path("docs/explanation/pictures")
DRAWS = 400  # of the posterior, for a band
HALF_BIN = math.sqrt(RATIO)
BLACK, ORANGE, SKY, GREEN, BLUE, RED = "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00"
PALE = "#b9dcf2"
STYLE: Mapping[str, Any] = {
    "svg.hashsalt": "poet",  # no name within the file comes by chance
    "svg.fonttype": "none",  # text stays text: small, and readable at any size
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "path.simplify_threshold": 0.5,
}

Floats = NDArray[np.float64]


def _kept(figure: Any, name: str, folder: Path) -> Path:
    path = folder / f"{name}.svg"
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    plt.close(figure)
    return path


def _band(values: Floats) -> tuple[Floats, Floats]:
    """The central 90 % of draws: (n_draws, n) -> (n,) twice."""
    low, high = np.quantile(values, (0.05, 0.95), axis=0)
    return low, high


def _smooth(values: Sequence[float] | Floats, width: int) -> Floats:
    """Mean of the last ``width`` values at each place, of those that there are."""
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=float))])
    ends = np.arange(1, len(sums))
    starts = np.maximum(ends - width, 0)
    result: Floats = (sums[ends] - sums[starts]) / (ends - starts)
    return result


def _in_seconds(axes: Axes, ticks: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


# --- (a) the latency picture ------------------------------------------------------------------------------------------

LIMIT = 2.0  # timeout in force [s]


def latency(folder: Path) -> Path:
    """What is known of a service after 20, 200 and 2000 calls, none of which waited longer than ``LIMIT``."""
    scenario = SCENARIOS["heavy_tail"]
    service, counts = scenario.service(0), (20, 200, 2000)
    plan, dice = Plan(LIMIT, 0), Dice(3, scenario.name, counts[-1])
    evidence, rng = Evidence(), np.random.default_rng(1)
    truth = [evaluate(service, Plan(edge, 0)).success for edge in EDGES]
    figure, every = plt.subplots(1, 3, figsize=(9.0, 3.0), sharey=True, layout="constrained")
    seen = 0
    for axes, count in zip(every, counts, strict=True):
        while seen < count:
            done = perform(service, plan, dice.call(seen))
            evidence.observe([Execution("sim", seen, float(seen), done.seconds, done.outcome, 1, done.attempts, "")])
            seen += 1
        picture = evidence.picture()
        low, high = _band(drawn_worlds(picture, DRAWS, 40.0, rng).answered)
        axes.axvspan(LIMIT, 40.0, facecolor="#eeeeee", edgecolor="#bbbbbb", hatch="//", linewidth=0)
        axes.fill_between(KNOTS[1:], low[1:], high[1:], color=SKY, alpha=0.45, linewidth=0, label="90 % of the draws")
        axes.plot(KNOTS[1:], (picture.weights @ picture.answered)[1:], color=BLUE, label="the picture")
        axes.plot(EDGES, truth, color=BLACK, linestyle="--", linewidth=1.2, label="the truth")
        axes.axvline(LIMIT, color=RED, linewidth=1.2, label="timeout: behind it all is censored")
        axes.set_title(f"after {count} calls")
        _in_seconds(axes, (0.1, 0.3, 1, 3, 10, 30))
        axes.set_xlim(0.08, 40.0)
        axes.set_ylim(0.0, 1.02)
        axes.set_xlabel("seconds")
    every[0].set_ylabel("chance that an answer has come")
    figure.legend(*every[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return _kept(figure, "latency", folder)


# --- (b), (c) what plans are worth ------------------------------------------------------------------------------------


class Life:
    """What a learner knows after some calls, and what holds then."""

    def __init__(self, name: str, calls: int, *, seed: int = 1, hedging: bool = True) -> None:
        self.scenario: Scenario = SCENARIOS[name]
        names = [each for each in SPACE if hedging or not each.startswith("hedge")]
        learner = OnlineLearner(
            objective=self.scenario.objective,
            space=Space(**{each: SPACE[each] for each in names}),
            declared={each: DECLARED[each] for each in names},
            hedge_budget=1.0,
            seed=seed,
        )
        policy = _Quiet(learner, {each: DECLARED[each] for each in names}, seed=seed)
        play(self.scenario, policy, seed, calls)
        live = policy.live
        hedges = int(live.get("hedges", 0))
        self.picture: Picture = learner._evidence.picture()
        self.live = Candidate(
            float(live["timeout"]),
            int(live["retries"]),
            float(live["backoff"]),
            hedges,
            float(live.get("hedge_delay", 0.0)) if hedges else 0.0,
        )

    def expected(self, plans: Sequence[Candidate], draws: int = 0) -> Floats:
        """Utility per call: (n_plans, draws), or (n_plans, 1) by the mean picture."""
        rng = np.random.default_rng(7)
        longest = max(plan.timeout for plan in plans)
        world = drawn_worlds(self.picture, draws, longest, rng) if draws else mean_world(self.picture)
        return Wish(self.scenario.objective, None, derived=False).utility(scored(world, plans, BACKOFF_CAP))

    def true(self, plan: Candidate) -> float:
        """Exact expected utility."""
        simulated = Plan(plan.timeout, plan.retries, plan.backoff, plan.hedge_delay)
        return evaluate(self.scenario.service(0), simulated).utility(self.scenario.objective)


class _Quiet(Learned):
    """A policy whose delay counts only where copies are sent."""

    def parameters(self, t: int) -> Mapping[str, object]:
        values = super().parameters(t)
        return {**values, "hedge_delay": 0.0} if not values.get("hedges") else values


class _Noted(_Quiet):
    """Notes alarms, what the learner allows itself, and when it listens."""

    def __init__(self, scenario: Scenario, *, mind_load: bool = True) -> None:
        learner = OnlineLearner(
            objective=scenario.objective, space=SPACE, declared=DECLARED, hedge_budget=1.0, mind_load=mind_load, seed=1
        )
        super().__init__(learner, DECLARED, seed=1)
        self.evidence: Evidence = learner._evidence
        self.heard: list[int] = []  # calls at which there was an alarm
        self.allowed: list[float] = []  # extra requests per call that a plan may send, by call
        self.listening: list[bool] = []

    def observe(self, execution: Execution) -> None:
        before = self.evidence._last_alarm
        super().observe(execution)
        if self.evidence._last_alarm != before:
            self.heard.append(self.executions)
        strain = self.evidence.strain
        self.allowed.append(math.nan if strain is None else strain.allowed)
        self.listening.append(strain is not None and strain.listening)


def plans(folder: Path) -> Path:
    """All timeouts and retries of one service on one picture, and as they are in truth."""
    life = Life("fast_api", 200, hedging=False)
    times = [edge for edge in EDGES if 0.05 <= edge <= 12.0]
    grid = [life.live._replace(timeout=time, retries=retries) for retries in range(6) for time in times]
    tables = life.expected(grid)[:, 0], np.array([life.true(plan) for plan in grid])
    figure, every = plt.subplots(1, 2, figsize=(9.0, 3.1), sharey=True, layout="constrained")
    high = float(tables[1].max())
    norm, colours = Normalize(high - 0.3, high), mpl.colormaps["cividis"].resampled(30)
    for axes, table, title in zip(every, tables, ("as the picture says after 200 calls", "in truth"), strict=True):
        for retries, row in enumerate(table.reshape(6, -1)):
            for first, end, level in _runs(np.clip(norm(row) * colours.N, 0, colours.N - 1).astype(int).tolist()):
                left, right = ((*times, times[-1] * RATIO)[place] / HALF_BIN for place in (first, end))
                axes.barh(retries, right - left, 1.0, left, color=colours(level), linewidth=0)
        best = int(table.argmax())
        axes.plot(times[best % len(times)], best // len(times), "x", color=BLACK, ms=8, label="highest")
        axes.plot(life.live.timeout, life.live.retries, "o", mfc="none", mec=RED, mew=2, ms=11, label="in force")
        axes.set_title(title)
        axes.grid(visible=False)
        _in_seconds(axes, (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10))
        axes.set_xlim(times[0] / HALF_BIN, times[-1] * HALF_BIN)
        axes.set_ylim(-0.5, 5.5)
        axes.set_xlabel("timeout [s]")
    every[0].set_ylabel("retries")
    figure.colorbar(ScalarMappable(norm, colours), ax=every, label="utility per call", extend="min")
    figure.legend(*every[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return _kept(figure, "plans", folder)


def _runs(levels: Sequence[int]) -> list[tuple[int, int, int]]:
    """(first place, place after the last, level) of each run of equal levels: fewer shapes than cells."""
    runs: list[tuple[int, int, int]] = []
    for place, level in enumerate(levels):
        if runs and runs[-1][2] == level:
            runs[-1] = (runs[-1][0], place + 1, level)
        else:
            runs.append((place, place + 1, level))
    return runs


def _line(axes: Axes, life: Life, xs: Sequence[float], candidates: Sequence[Candidate], colour: str, name: str) -> None:
    """Expected utility with its band, dashed the truth."""
    draws = life.expected(candidates, DRAWS)
    low, high = _band(draws.T)
    axes.fill_between(xs, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(xs, life.expected(candidates)[:, 0], color=colour, label=name)
    axes.plot(xs, [life.true(plan) for plan in candidates], color=colour, linestyle="--", linewidth=1.0)


def delays(folder: Path) -> Path:
    """Hedge delay and backoff, everything else as chosen."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.3), layout="constrained")
    times = np.geomspace(0.02, 4.0, 40).tolist()
    for name, colour, text in (
        ("bimodal", BLUE, "slow by attempt (bimodal)"),
        ("bimodal_key", ORANGE, "slow by call (bimodal_key)"),
    ):
        life = Life(name, 600)
        wide = life.live._replace(timeout=max(life.live.timeout, 5.0))
        _line(left, life, times, [wide._replace(hedges=1, hedge_delay=time) for time in times], colour, text)
        if life.live.hedges:
            left.axvline(life.live.hedge_delay, color=colour, linestyle=":")
        left.axhline(life.true(wide._replace(hedges=0, hedge_delay=0.0)), color=colour, linewidth=0.7)
    left.set_title("a copy after … seconds (thin: no copy, in truth)")
    _in_seconds(left, (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4))
    waits = np.geomspace(0.01, 8.0, 40).tolist()
    for name, colour, text in (
        ("sticky_err", GREEN, "errors that last 2 s (sticky_err)"),
        ("flaky20", RED, "errors that pass at once (flaky20)"),
    ):
        life = Life(name, 600)
        plan = life.live._replace(hedges=0, hedge_delay=0.0, retries=max(life.live.retries, 2))
        _line(right, life, waits, [plan._replace(backoff=wait) for wait in waits], colour, text)
        right.axvline(life.live.backoff, color=colour, linestyle=":")
    right.set_title("longest pause before the first retry [s]")
    _in_seconds(right, (0.01, 0.03, 0.1, 0.3, 1, 3, 8))
    for axes in (left, right):
        axes.set_ylabel("utility per call")
        axes.legend(loc="lower left" if axes is left else "lower center")
    return _kept(figure, "delays", folder)


# --- (d) change -------------------------------------------------------------------------------------------------------


def change(folder: Path) -> Path:
    """A service that becomes fifteen times slower at call 1500 and quick again at call 3500."""
    scenario = SCENARIOS["regime_shift"]
    policy = _Noted(scenario)
    record = play(scenario, policy, 1)
    figure, (above, below) = plt.subplots(2, 1, figsize=(9.0, 4.2), sharex=True, layout="constrained")
    calls, every = np.arange(len(record.timeout)), 10
    above.step(calls[::every], record.timeout[::every], where="post", color=BLUE, label="timeout")
    delay = np.where((record.hedge_delay > 0) & (record.hedge_delay < record.timeout), record.hedge_delay, np.nan)
    above.step(calls[::every], delay[::every], where="post", color=ORANGE, label="hedge delay")
    median = [scenario.at(int(t)).latency[0].median for t in calls[::every]]
    above.step(calls[::every], median, where="post", color=BLACK, linestyle="--", linewidth=1.0, label="true median")
    above.set_yscale("log")
    above.set_yticks((0.1, 0.3, 1, 3, 10, 30), ["0.1", "0.3", "1", "3", "10", "30"])
    above.minorticks_off()
    above.set_ylim(0.02, 100.0)
    above.set_ylabel("seconds")
    used, best = _smooth(record.expected, 25), oracle_series(scenario)
    below.plot(calls[::every], used[::every], color=BLUE, label="what was in force, last 25 calls")
    below.plot(calls[::every], best[::every], color=BLACK, linestyle="--", linewidth=1.0, label="best")
    below.set_ylabel("expected utility per call")
    below.set_ylim(float(used.min()) - 0.12, 1.02)
    below.set_xlabel("calls")
    for axes in (above, below):
        for place, (first, end) in enumerate(_spells(policy.listening)):
            axes.axvspan(first, end, color=PALE, linewidth=0, label="listening" if not place else None)
        for place, heard in enumerate(policy.heard):
            axes.axvline(heard, color=RED, linewidth=1.0, label="alarm" if not place else None)
        axes.legend(loc="upper right" if axes is above else "lower right", ncols=5)
    return _kept(figure, "change", folder)


# --- (e) our own load -------------------------------------------------------------------------------------------------


def load(folder: Path) -> Path:
    """A service that our own requests slow down, with and without minding it."""
    scenario = SCENARIOS["overload"]
    assert scenario.overload is not None
    policy = _Noted(scenario)
    minding, heedless = play(scenario, policy, 1), play(scenario, _Noted(scenario, mind_load=False), 1)
    figure, every = plt.subplots(3, 1, figsize=(9.0, 5.6), sharex=True, layout="constrained")
    calls, step = np.arange(len(minding.load)), 15
    top, middle, below = every
    for record, colour, text in ((heedless, ORANGE, "mind_load=False"), (minding, BLUE, "as it is by default")):
        top.plot(calls[::step], record.load[::step], color=colour, label=text, linewidth=1.2)
        below.plot(calls[::step], _smooth(record.expected, 50)[::step], color=colour, linewidth=1.2)
    top.set_ylim(0.8, 5.5)
    top.set_ylabel("requests per call")
    middle.step(calls[::step], policy.allowed[::step], where="post", color=GREEN, label="extra requests allowed")
    extra = _smooth(minding.requests - 1.0, 50)
    middle.plot(calls[::step], extra[::step], color=BLUE, linewidth=1.0, label="sent, last 50 calls")
    middle.set_ylim(-0.05, 2.1)
    middle.set_ylabel("per call")
    kept = oracle_series(scenario)
    below.plot(
        calls[::step], kept[::step], color=BLACK, linestyle="--", linewidth=1.0, label="best plan, if it is kept"
    )
    below.set_ylim(-0.2, 1.0)
    below.set_ylabel("expected utility")
    below.set_xlabel("calls")
    for axes in every:
        for place, (first, end) in enumerate(_spells(policy.listening)):
            axes.axvspan(first, end, color=PALE, linewidth=0, label="listening" if not place else None)
        for place, (first, end, _) in enumerate(scenario.overload.bursts):
            axes.axvspan(first, end, 0.0, 0.05, color=RED, linewidth=0, label="others' burst" if not place else None)
        axes.legend(loc="upper right" if axes is not below else "lower right", ncols=4)
    return _kept(figure, "load", folder)


def _spells(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """(first call, call after the last) of each spell."""
    spells, start = [], None
    for call, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = call
        elif not flag and start is not None:
            spells.append((start, call))
            start = None
    return spells


def main(folder: Path = FOLDER) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(dict(STYLE)):
        for draw in (latency, plans, delays, change, load):
            path = draw(folder)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
