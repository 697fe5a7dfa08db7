"""A real batch job that tunes itself: a scikit-learn classifier, trained again and again on fresh batches.

Every call trains a support vector machine on one batch of handwritten digits and is scored by how it does on digits
that it has not seen. Nothing is set aside for tuning: each call is a batch that had to be done anyway. Nine in ten of
the possible values are useless here (one digit in ten right), so trying things out has a price, and a budget.

    python examples/tune_a_batch_job.py [batches]
"""

from __future__ import annotations

import sys
from statistics import fmean
from typing import Annotated, Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import poet as the_house
from poet import Choice, Integer, Real, poet

X, Y = load_digits(return_X_y=True)
BATCH = 400  # digits to train on; as many others tell how good it is
DECLARED: dict[str, str | float] = {"kernel": "rbf", "c": 0.1, "gamma": 0.0003, "degree": 3}


@poet(
    enable_training=True,
    timeout=60.0,
    score=lambda accuracy, seconds: accuracy,
    exploration=0.05,  # of a batch's worth may be lost on average by trying things out
)
def train(
    rows: Any,
    *,
    kernel: Annotated[str, Choice("rbf", "poly", "sigmoid")] = "rbf",
    c: Annotated[float, Real(0.01, 100.0, log=True)] = 0.1,
    gamma: Annotated[float, Real(1e-5, 0.1, log=True)] = 0.0003,
    degree: Annotated[int, Integer(2, 5, when={"kernel": "poly"})] = 3,
) -> float:
    """Share of the second half of ``rows`` that a classifier trained on the first half gets right."""
    model = SVC(kernel=kernel, C=c, gamma=gamma, degree=degree)
    model.fit(X[rows[:BATCH]], Y[rows[:BATCH]])
    return float(model.score(X[rows[BATCH:]], Y[rows[BATCH:]]))


def main(batches: int = 250, seed: int = 0) -> dict[str, float]:
    """Mean accuracy over the first and the last fifth of the batches, and of the declared values on the last ones."""
    the_house.configure(store="memory:", learning="on", seed=seed, train_interval=0.01)
    dice = np.random.default_rng(seed)
    rows = [dice.permutation(len(X))[: 2 * BATCH] for _ in range(batches)]
    accuracy = [train(each) for each in rows]
    the_house.flush()
    fifth = max(1, batches // 5)
    declared = train.poet.using(**DECLARED)
    found = {
        "first": fmean(accuracy[:fifth]),
        "last": fmean(accuracy[-fifth:]),
        "declared": fmean(declared(each) for each in rows[-fifth:]),
        "live": fmean(train(each) for each in rows[-fifth:]),
    }
    print(f"accuracy over the first {fifth} batches {found['first']:.3f}, over the last {found['last']:.3f};")
    print(f"on these last ones the declared values have {found['declared']:.3f}")
    print("live:", {name: train.poet.parameters[name] for name in DECLARED})
    for sentence in train.poet.explain().sentences[-4:]:
        print(" ", sentence)
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 250)
