from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from poet.model.execution import Attempt, Execution, Feedback, Outcome
from poet.training.late import PATIENCE, RECENT, Late, Pair


def call(sequence: int, writer: str = "us", score: float | None = None) -> Execution:
    attempts = (Attempt(Outcome.SUCCESS, 0.5),)
    return Execution(writer, sequence, float(sequence), 0.5, Outcome.SUCCESS, 1, attempts, score=score)


PLACES = st.tuples(st.sampled_from(["us", "them"]), st.integers(0, 6))
SCORES = st.sampled_from([0.0, 0.5, 1.0])
GOALS = st.sampled_from([(), (("a", 1.0),), (("b", 2.0),), (("a", 3.0), ("b", 4.0))])
SAID = st.tuples(st.just("said"), st.builds(lambda place, score, goals: (*place, score, goals), PLACES, SCORES, GOALS))
SEEN = st.tuples(st.just("seen"), PLACES)
LOOK = st.tuples(st.just("look"), st.booleans())


@settings(max_examples=300)
@given(st.lists(SAID | SEEN | LOOK | st.tuples(st.just("join"), st.none()), max_size=40))
def test_every_score_is_told_or_waits_or_is_lost_and_what_was_told_adds_up(steps: Sequence[tuple[str, object]]) -> None:
    """The learner's record, corrected by each pair, is what all scores that found their execution say."""
    ours, now, there = Late(), 0.0, {}
    record: dict[tuple[str, int], Execution] = {}
    said: list[Feedback] = []
    pairs: list[Pair] = []
    for step, fact in [*steps, ("join", None), ("look", True)]:
        now += 1.0
        if step == "said":
            writer, sequence, score, goals = fact  # type: ignore[misc]
            each = Feedback(writer, sequence, score, now, goals)
            said.append(each)
            ours.said(each)
        elif step == "seen":
            writer, sequence = fact  # type: ignore[misc]
            if (writer, sequence) in record:
                continue
            there[writer, sequence] = record[writer, sequence] = call(sequence, writer)
            if writer == "us":
                ours.seen([record[writer, sequence]])
        elif step == "join":
            pairs = ours.joined()
        else:
            wanted = ours.wanted()
            stored = [there[place] for place in wanted if place in there and place[0] == "them"]
            pairs = ours.found(stored, lost="us" if fact else "", now=now)
            ours.stored()
        for before, after in pairs:
            place = before.writer, before.sequence
            assert before.score in (None, record[place].score)
            assert after != before
            record[place] = there[place] = after
        pairs = []
    known = [each for each in said if (each.writer, each.sequence) in record]
    for place, execution in record.items():
        mine = [each for each in known if (each.writer, each.sequence) == place]
        if mine and place[0] == "them":
            assert execution.score == mine[-1].score
        if execution.score is not None:
            assert set(dict(execution.goals).items()) <= {goal for each in mine for goal in each.goals}
    ours.found([], lost="us", now=now + PATIENCE)
    assert ours.waiting == 0
    assert ours.lost <= len(said)


def test_executions_at_hand_are_the_newest_without_a_score() -> None:
    ours = Late()
    ours.seen([call(i) for i in range(RECENT + 10)])
    ours.seen([call(RECENT + 10, score=0.5), call(RECENT + 11)])
    for sequence in (10, 11, RECENT + 10, RECENT + 11):
        ours.said(Feedback("us", sequence, 1.0, 0.0))
    assert [pair.after.sequence for pair in ours.joined()] == [11, RECENT + 11]
    assert ours.wanted() == [("us", 10), ("us", RECENT + 10)]


def test_what_was_stored_before_its_execution_was_found_is_news_all_the_same() -> None:
    ours = Late()
    ours.said(Feedback("them", 1, 0.5, 0.0, (("a", 1.0),)))
    assert ours.found([], lost="us", now=1.0) == []
    ours.stored()
    merged = call(1, "them", score=0.5)._replace(goals=(("a", 1.0),))  # as the store has it by now
    (pair,) = ours.found([merged], lost="us", now=2.0)
    assert pair == Pair(call(1, "them"), merged)
    assert (ours.waiting, ours.lost) == (0, 0)
