from __future__ import annotations

from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.model.objective import Objective
from poet.sim.traffic import (
    MOST_RETRIES,
    Answer,
    Choice,
    Recording,
    Result,
    Sample,
    best_fixed,
    load_recordings,
    pause,
    read_samples,
    replay,
    utility,
)

OUTCOMES: tuple[Answer, ...] = ("ok", "error", "hang")


def recording(*samples: Sample, speed_up: float = 1.0, change_at: int | None = None) -> Recording:
    return Recording("example", "example", "made up", "this test", samples, speed_up, change_at)


def plain(*answers: tuple[float, Answer]) -> Recording:
    return recording(*(Sample("", seconds, outcome) for seconds, outcome in answers))


samples = st.builds(Sample, st.sampled_from(["a", "b"]), st.floats(0.01, 50.0), st.sampled_from(OUTCOMES))
recordings = st.lists(samples, min_size=1, max_size=12).map(lambda each: recording(*each))


@given(recordings, st.integers(0, 50), st.integers(0, 8))
def test_a_retry_meets_the_next_sample_of_its_own_series(record: Recording, call: int, attempt: int) -> None:
    series = record.samples[call % len(record.samples)].series
    own = [index for index, sample in enumerate(record.samples) if sample.series == series]
    place = own.index(call % len(record.samples))
    assert record.at(call, attempt) is record.samples[own[(place + attempt) % len(own)]]


def test_a_call_ends_with_its_first_answer_and_counts_what_it_waited() -> None:
    record = plain((9.0, "hang"), (0.5, "error"), (2.0, "ok"))
    assert replay(record, 0, Choice(3.0, 5, backoff=1.0)) == Result(True, 3.0 + 0.5 + 0.5 + 1.0 + 2.0, 3)


def test_a_call_without_an_answer_fails_after_its_last_retry() -> None:
    record = plain((9.0, "hang"), (5.0, "ok"), (0.5, "error"))
    assert replay(record, 0, Choice(3.0, 1)) == Result(False, 6.0, 2)


def test_an_answer_at_the_limit_counts() -> None:
    assert replay(plain((3.0, "ok")), 0, Choice(3.0, 0)).success


def test_pauses_double_up_to_their_cap() -> None:
    assert [pause(1.0, failures, cap=3.0) for failures in (1, 2, 3, 4)] == [0.5, 1.0, 1.5, 1.5]


@given(recordings, st.integers(1, 20))
def test_hindsight_is_the_maximum_over_the_fixed_choices(record: Recording, count: int) -> None:
    objective = Objective(latency_cost=0.05)
    calls = record.calls(count, seed=3)
    best, worth = best_fixed(record, calls, objective)
    assert utility(record, calls, best, objective) == pytest.approx(worth)
    # With so few samples each recorded length is a candidate, and only those change anything.
    for timeout in {sample.seconds for sample in record.samples} | {30.0}:
        for retries in range(MOST_RETRIES + 1):
            assert utility(record, calls, Choice(timeout, retries), objective) <= worth + 1e-9


@given(recordings, st.integers(1, 30), st.integers(0, 5))
def test_the_same_seed_plays_the_same_calls(record: Recording, count: int, seed: int) -> None:
    calls = record.calls(count, seed)
    assert calls == record.calls(count, seed)
    assert len(calls) == count


def test_a_change_stands_within_the_calls_that_are_played() -> None:
    archive = load_recordings(["archive"])["archive"]
    assert archive.change_at is not None
    for seed in range(20):
        for count in (60, 450, 600):
            calls = archive.calls(count, seed)
            assert calls.start + count // 4 < archive.change_at < calls.stop - count // 4


def test_the_archive_changes_where_it_says_so() -> None:
    archive = load_recordings(["archive"])["archive"]
    assert archive.change_at is not None

    def typical(part: tuple[Sample, ...]) -> float:
        answered = sorted(sample.seconds for sample in part if sample.outcome == "ok")
        return answered[len(answered) // 2]

    before, after = archive.samples[: archive.change_at], archive.samples[archive.change_at :]
    assert typical(after) > 3 * typical(before)


def test_silence_comes_in_the_bursts_in_which_it_was_recorded() -> None:
    for record in load_recordings(["lookup", "quote"]).values():
        silent = [index for index, sample in enumerate(record.samples) if sample.outcome == "hang"]
        again = sum(record.at(index, 1).outcome == "hang" for index in silent) / len(silent)
        assert again > 1.25 * len(silent) / len(record.samples)


def test_utility_is_the_same_in_recorded_and_in_played_seconds() -> None:
    for record in load_recordings().values():
        recorded, played = record.objective(), record.objective(record.speed_up)
        assert played.utility(True, 2.0 / record.speed_up, 3) == pytest.approx(recorded.utility(True, 2.0, 3))
        assert recorded.utility(True, record.typical, 1) == pytest.approx(0.9)


def test_all_played_latencies_are_long_against_the_loopback() -> None:
    for record in load_recordings().values():
        assert record.typical / record.speed_up > 0.05


def test_the_sample_is_small_and_its_readme_names_every_file() -> None:
    folder = files("poet.sim") / "recorded"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    records = [entry for entry in folder.iterdir() if entry.name.endswith(".csv")]
    assert {entry.name.removesuffix(".csv") for entry in records} == set(load_recordings())
    assert sum(len(entry.read_bytes()) for entry in folder.iterdir() if entry.is_file()) < 150_000
    for entry in records:
        assert f"`{entry.name}`" in readme


def test_an_unknown_recording_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'catalog'"):
        load_recordings(["catalogue"])


@pytest.mark.parametrize("line", [",x,ok", ",0,ok", ",inf,ok", ",1,fine", ",1", "1"])
def test_a_damaged_line_is_named(line: str) -> None:
    with pytest.raises(ConfigurationError, match=r"broken\.csv, line 3"):
        read_samples(f"series,seconds,outcome\n,1,ok\n{line}\n", "broken")


def test_a_recording_without_samples_or_speed_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no samples"):
        recording()
    with pytest.raises(ConfigurationError, match="speed_up"):
        recording(Sample("", 1.0, "ok"), speed_up=0.0)
    with pytest.raises(ConfigurationError, match="count"):
        plain((1.0, "ok")).calls(0, seed=1)
    with pytest.raises(ConfigurationError, match="no answer"):
        plain((1.0, "hang")).objective()
