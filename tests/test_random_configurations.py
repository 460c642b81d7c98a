"""Random configurations by the dozen; the script beside runs any number of them."""

import os

import pytest
from random_configurations import draw, outcome, run

# Numbers that are quick: no growth, few rows, no second fit in threads.
QUICK = 60


def quick():
    """The first numbers that cost little, from a fixed one on."""
    number, found = 100_000, []
    while len(found) < QUICK:
        number += 1
        words = draw(number).words
        costly = words.get("branching") == "grow" or words["gate"] == "boosted"
        costly = costly or words["table"] == "wide" or words["n"] == 100
        if number % 8 and not costly:
            found.append(number)
    return found


def test_random_configurations_fit_or_are_refused():
    n_workers = min(2, os.cpu_count() or 1)
    ends = list(run(quick(), n_workers=n_workers, limit=300.0))
    failed = [f"{number} {text}" for number, kind, text in ends if kind == "failed"]
    assert not failed, "\n".join(failed)
    kinds = [kind for _, kind, _ in ends]
    # Refusals are right, but a generator of nothing else would show little.
    assert kinds.count("fit") > len(kinds) / 2


# Quantiles apart by rounding; overflow in a variance, a density, a routed weight; text
# in ramps, and in a classifier that computes with it; experts without rows; impossible
# classes; variances near zero; rows that no expert finds possible; leaves without a
# column that varies.
ONCE = [
    447,
    714,
    1078,
    1261,
    1360,
    1479,
    2170,
    2188,
    4115,
    4234,
    5106,
    7417,
    8467,
    226,
    803,
]


@pytest.mark.parametrize("number", ONCE)
def test_configurations_that_failed_once(number):
    kind, text = outcome(number)
    assert kind in ("fit", "refused"), text


@pytest.mark.parametrize("number", [3, 17])
def test_configurations_are_their_numbers(number):
    assert str(draw(number)) == str(draw(number))


def test_what_is_raised_elsewhere_is_a_failure(monkeypatch):
    def broken(*_, **__):
        return 1 / 0

    monkeypatch.setattr("skmoe.MoERegressor.fit", broken)
    monkeypatch.setattr("skmoe.MoEClassifier.fit", broken)
    kinds = {outcome(number)[0] for number in range(6)}
    assert "failed" in kinds


def _crash(pipe):
    pipe.recv()
    os._exit(3)


def test_a_crash_and_a_hang_are_outcomes(monkeypatch):
    ends = list(run([1], n_workers=1, limit=0.0))
    assert ends[0][1] == "failed"
    assert "took more than" in ends[0][2]
    monkeypatch.setattr("random_configurations._serve", _crash)
    ends = list(run([1], n_workers=1, method="fork"))
    assert "code 3" in ends[0][2]
