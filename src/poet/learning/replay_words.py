"""What a replay came to, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from poet.model.estimate import Estimate
from poet.model.phases import parted, timed
from poet.model.replay import Replay
from poet.model.tunable import Value

NOTHING = 1e-6  # gain per call that is none: stores round what they keep [1]
CLEAR = 0.0005  # share of calls below which a doubt is not worth a sentence
LEFT_OUT: Mapping[str, str] = {
    "shed": "not made, as a breaker was open or a limit reached",
    "cancelled": "given up by their callers",
    "unknown": "imported, and nobody knows their attempts",
}


def sentences(told: Replay) -> tuple[str, ...]:
    """The verdict first, then how far it may be trusted."""
    if not told.calls:
        return ("There is no call to replay.", *_left_out(told))
    return (_verdict(told), _decided(told), *_open(told), *_target(told), *_odd(told), *_left_out(told))


def named(values: Mapping[str, Value]) -> str:
    """Parameters as people say them.

    >>> named({"timeout": 2.0, "retries": 1, "backoff": 0.1, "hedges": 0, "hedge_delay": 0.0})
    'timeout 2 s, retries 1, backoff 0.1 s'
    """
    said = [f"timeout {values['timeout']:.4g} s", f"retries {values['retries']}", f"backoff {values['backoff']:.4g} s"]
    if values["hedges"]:
        said.append(f"hedges {values['hedges']} after {values['hedge_delay']:.4g} s")
    for name in sorted(filter(timed, values)):
        rest, phases = parted(name)
        said.append(f"{rest} {values[name]} from {' and '.join(map(str, phases))}")
    return ", ".join(said)


def _verdict(told: Replay) -> str:
    new, old = told.replayed, told.recorded
    figures = (
        f"{_share(new['success'].value)} of the calls would have got an answer instead of {_share(old['success'])}, "
        f"in {new['seconds'].value:.3g} s instead of {old['seconds']:.3g} s on average, "
        f"99 % of the calls within {new['p99'].value:.3g} s instead of {old['p99']:.3g} s, "
        f"with {new['requests'].value:.4g} requests per call instead of {old['requests']:.4g}"
    )
    return f"Under {named(told.values)}: {figures}{_better(told.gain)}."


def _better(gain: Estimate | None) -> str:
    if gain is None:
        return ""
    if max(abs(gain.low), abs(gain.high)) < NOTHING:
        return "; worth the same"
    within = f"[{gain.low:.3g}, {gain.high:.3g}]"
    if gain.low > 0:
        return f"; better by {gain.value:.3g} per call {within}"
    if gain.high < 0:
        return f"; worse by {-gain.value:.3g} per call [{-gain.high:.3g}, {-gain.low:.3g}]"
    return f"; no clear difference in worth ({gain.value:+.3g} per call {within})"


def _decided(told: Replay) -> str:
    if told.decided == 1:
        return "The record decides every call: nothing is estimated."
    estimated = max(1 - told.decided - told.untold, 0.0)
    said = f"The record decides {_share(told.decided)} of the calls"
    if estimated >= CLEAR:
        said += f", {_share(estimated)} are estimated from comparable attempts"
    if told.untold >= CLEAR:
        said += f", of {_share(told.untold)} it cannot tell"
    return said + "."


def _open(told: Replay) -> Iterable[str]:
    if told.decided == 1:
        return
    if told.untold >= CLEAR:
        yield (
            "Where it cannot tell, an attempt that nobody saw may have gone as the one beside it, or as a fresh one: "
            "the intervals hold both, the figures are the middle."
        )
    if float(told.values["timeout"]) > told.longest and told.untold >= CLEAR:
        yield f"No attempt was ever given longer than {told.longest:.4g} s: nothing is known of what comes behind it."
    success, seconds = (told.bounds[name] for name in ("success", "seconds"))
    good = _share(success[0])
    if success[0] < success[1]:
        good = f"between {good} and {_share(success[1])}"
    yield (
        f"Whatever these attempts had done, success would be {good}, the average call between {seconds[0]:.3g} and "
        f"{seconds[1]:.3g} s."
    )


def _target(told: Replay) -> Iterable[str]:
    target = None if told.objective is None else told.objective.success_target
    if target is None:
        return
    success = told.replayed["success"]
    met = "it would have been" if success.low >= target else "it would not" if success.high < target else "it is open"
    yield f"Asked for is an answer to {100 * target:.6g} % of the calls: {met}."


def _odd(told: Replay) -> Iterable[str]:
    if told.held:
        yield (
            f"{told.held} failed with retries left: something else ended them – a deadline, a budget, a breaker, a "
            "spell without retries –, and here they end there, too."
        )
    if told.late:
        yield (
            f"{told.late} were answered behind their limit, and the answer was used: the function is not interrupted "
            "there. Here it is taken to obey its limit in all other calls."
        )
    if told.older:
        yield f"There are older calls: only the newest {told.calls} were replayed."


def _left_out(told: Replay) -> Iterable[str]:
    if told.left_out:
        parts = ", ".join(f"{n} {LEFT_OUT.get(why, why)}" for why, n in told.left_out.items())
        yield f"Calls left out: {parts}."


def _share(x: float) -> str:
    """A share as per cent; only a whole is called 100 %.

    >>> _share(0.98765), _share(1.0), _share(0.999999), _share(0.0)
    ('98.77 %', '100 %', '>99.99 %', '0 %')
    """
    return ">99.99 %" if 0.99995 <= x < 1 else f"{100 * x:.4g} %"
