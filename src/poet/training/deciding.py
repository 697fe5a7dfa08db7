"""What follows from an experiment's evidence: it goes on, an arm ends, it is held, or it is over. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from poet.kernels.online.verdict import Finding
from poet.model.experiment import Experiment
from poet.training.comparing import Reading, facts, harm_said, read, sentence
from poet.training.evidence import Evidence

RESUMED = "resumed"  # in the log
HARM_SEEN = "harm"  # in the log, of an arm that goes on all the same


def decided(experiment: Experiment, evidence: Evidence, now: float) -> Experiment | None:
    """The experiment as it is from now on; None: it goes on as it is. now: Unix time [s]."""
    if experiment.phase != "running":
        return None
    reading = read(experiment, evidence)
    rules, told = experiment.rules, sentence(experiment, reading)
    if reading.mismatch:
        return None if _overruled(experiment) else held(experiment, now, told)
    harmed = _harmed(experiment, evidence, reading, now)
    if harmed is not None:
        return harmed
    if reading.decided:
        winner = reading.best or (experiment.control.name if _all_worse(experiment, reading) else "")
        verdict = "decided" if winner else "same"
        return ended(experiment, evidence, now, told, verdict=verdict, winner=winner)
    if len(experiment.running) > 2:
        for each in reading.against:
            place = experiment.place(each.arm)
            if each.verdict == "worse" and not experiment.arms[place].ended:
                return experiment.noted(now, f"{each.arm} ends", told).with_arm(place, ended=f"worse: {told}")
    if rules.most_calls is not None and reading.calls >= rules.most_calls:
        return ended(experiment, evidence, now, f"{rules.most_calls} calls are over: {told}")
    if rules.longest is not None and now - experiment.begun >= rules.longest:
        return ended(experiment, evidence, now, f"its time is over: {told}")
    return None


def held(experiment: Experiment, now: float, why: str) -> Experiment:
    """All calls get what is live until a person decides."""
    return experiment.noted(now, "held", why, phase="held", why=why, sentence=why)


def ended(experiment: Experiment, evidence: Evidence, now: float, why: str, **changes: Any) -> Experiment:
    """It is over, with what was seen until now. changes: of its verdict and winner."""
    found = facts(experiment, evidence, read(experiment, evidence))
    return experiment.noted(
        now, "ended", why, phase="ended", ended=now, why=why, sentence=why, figures=found, **changes
    )


def _harmed(experiment: Experiment, evidence: Evidence, reading: Reading, now: float) -> Experiment | None:
    control, on_harm = experiment.control.name, experiment.rules.on_harm
    if _overruled(experiment):
        on_harm = "observe"
    harmful: list[tuple[int, Finding]] = []
    for place, each in enumerate(reading.against, 1):
        if each.harmful is not None and not experiment.arms[place].ended:
            harmful.append((place, each.harmful))
    for place, finding in harmful:
        name = experiment.arms[place].name
        why = harm_said(name, control, finding, evidence, place)
        if on_harm == "observe":
            what = f"{HARM_SEEN}: {name}"
            if any(note.what == what for note in experiment.log):
                continue
            return experiment.noted(now, what, why)
        if on_harm == "hold":
            return held(experiment, now, why)
        after = experiment.with_arm(place, ended=f"harm: {why}")
        if len(after.running) > 1:
            return after.noted(now, f"{name} ends", why)
        return ended(after, evidence, now, why, verdict="harm", winner=control)
    finding_of_control = reading.control_harm
    if finding_of_control is None or on_harm == "observe":
        return None
    why = f"{control} fails more often than what it is compared with, and what is live may do better"
    if on_harm == "hold":
        return held(experiment, now, why)
    return ended(experiment, evidence, now, why, verdict="harm")


def _overruled(experiment: Experiment) -> bool:
    """Whether a person has let it go on after it was held: then it is not held again, what is seen is told."""
    return any(note.what == RESUMED for note in experiment.log)


def _all_worse(experiment: Experiment, reading: Reading) -> bool:
    return all(
        each.verdict == "worse" or bool(experiment.arms[place].ended) for place, each in enumerate(reading.against, 1)
    )


def resumed(experiment: Experiment, now: float, why: str) -> Experiment:
    """A held one goes on, as a person said so."""
    return replace(experiment.noted(now, RESUMED, why), phase="running", why="", sentence="")
