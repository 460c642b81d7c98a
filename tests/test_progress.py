"""What is told while a fit runs: steps, members, time left, compilation."""

import re

import numba
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoERegressor
from skmoe._estimators.progress import Lines, time_left
from skmoe._estimators.training import told_of_compiling
from skmoe.datasets import make_regimes
from skmoe.trainers import EM, Gradient, TwoStage

X, Y = make_regimes(120, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore")
POOL = [Ridge(), DecisionTreeRegressor(max_depth=2)]
TRAINERS = {
    "em": EM(max_iter=2),
    "two-stage": TwoStage(cv=2, refine=1, alphas=[1.0], max_iter=20),
    "epochs": Gradient(max_epochs=3),
    "refits": Gradient(max_epochs=3, max_refits=2),
}


def mixture(name, **options):
    experts = POOL if name in ("two-stage", "refits") else None
    return MoERegressor(experts, 2, trainer=TRAINERS[name], random_state=0, **options)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_two_stages_tell_of_folds_gates_and_experts(capsys, n_jobs):
    mixture("two-stage", verbose=1, n_jobs=n_jobs).fit(X, Y)
    told = capsys.readouterr().out
    steps = re.findall(r"\] (.+) \((\d+) of (\d+), at most \d+ s left\)", told)
    assert [int(done) for _, done, _ in steps] == list(range(1, len(steps) + 1))
    (total,) = {int(total) for _, _, total in steps}
    # One is the end; a second round that gains nothing is not gone through.
    assert len(steps) in (total - 1, total)
    names = [name for name, _, _ in steps]
    assert names[:5] == [
        "ridge without fold 1 of 2",
        "ridge without fold 2 of 2",
        "decisiontreeregressor without fold 1 of 2",
        "decisiontreeregressor without fold 2 of 2",
        "gate",
    ]
    assert names[-2:] == ["ridge on all rows", "decisiontreeregressor on all rows"]


@pytest.mark.parametrize(("name", "total"), [("epochs", 3), ("refits", 6)])
def test_epochs_are_counted(capsys, name, total):
    mixture(name, verbose=1).fit(X, Y)
    told = capsys.readouterr().out
    assert f"(1 of {total}, at most" in told
    assert f"({total - 1} of {total}, at most" in told


@pytest.mark.parametrize("total", [None, 1, 7, 19, 20, 21, 200, 1000])
def test_some_twenty_lines_tell_of_a_fit(total):
    told = []
    lines = Lines(told.append, every=False)
    n_steps = 137 if total is None else max(1, total - total // 3)
    for done in range(1, n_steps + 1):
        lines.tell(done, done, total)
    lines.end()
    assert told[0] == 1
    assert told[-1] == n_steps
    assert told == sorted(set(told))
    assert len(told) <= 22
    if n_steps <= 9:
        assert len(told) == n_steps


@pytest.mark.parametrize("verbose", [1, 2])
def test_a_fit_of_many_epochs_is_told_in_few_lines(capsys, verbose):
    trainer = Gradient(max_epochs=60, early_stopping=False)
    MoERegressor(n_experts=1, trainer=trainer, verbose=verbose, random_state=0).fit(
        X, Y
    )
    told = re.findall(r"iteration (\d+)", capsys.readouterr().out)
    assert len(told) <= 22 if verbose == 1 else len(told) >= 58
    assert int(told[-1]) >= 58


def test_members_are_counted(capsys):
    mixture("em", n_members=3, verbose=1).fit(X, Y)
    told = capsys.readouterr().out
    assert re.findall(r"member (\d) of 3 is trained, about \d+ s left", told) == [
        "1",
        "2",
    ]


def test_nothing_is_told_unasked(capsys):
    model = mixture("two-stage")
    with told_of_compiling(model):
        numba.njit(lambda x: x + 1)(1)
    model.fit(X, Y)
    assert capsys.readouterr().out == ""


def test_compilation_is_told_once_and_what_is_cached_is_not(capsys):
    function = numba.njit(lambda x: x + 1)
    for expected in (["compiling, once", "compiled in"], []):
        with told_of_compiling(MoERegressor(verbose=1)):
            function(1)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == len(expected)
        for line, start in zip(lines, expected, strict=True):
            assert line.startswith(f"[MoERegressor] {start}")


def test_time_left_is_in_words():
    assert time_left(10.0, 1, 3) == "20 s"
    assert time_left(100.0, 1, 4) == "5 min"


class Watching:
    """A callback that keeps how many tasks were expected, and how many came."""

    def setup(self, estimator, context):
        self.begun, self.ended = [], []

    def on_fit_task_begin(self, estimator, context):
        depth = 0 if context.parent is None else 1 + (context.parent.parent is not None)
        self.begun.append((depth, context.task_name, context.max_subtasks))

    def on_fit_task_end(self, estimator, context):
        self.ended.append(context.task_name)

    def teardown(self, estimator, context):
        pass


@pytest.mark.parametrize(
    ("name", "n_members"),
    [("em", 1), ("em", 2), ("two-stage", 1), ("epochs", 2), ("refits", 1)],
)
def test_callbacks_know_how_much_is_to_come(name, n_members):
    pytest.importorskip("sklearn.callback", reason="scikit-learn >= 1.9")
    watching = Watching()
    model = mixture(name, n_members=n_members).set_callbacks(watching).fit(X, Y)
    plain = mixture(name, n_members=n_members).fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    assert len(watching.begun) == len(watching.ended)
    depth = int(n_members > 1)
    totals = [total for own, _, total in watching.begun if own == depth]
    steps = [name for own, name, total in watching.begun if own == depth + 1]
    assert len(totals) == n_members
    if name == "em":
        assert totals == [None] * n_members
        return
    assert 0 < len(steps) <= sum(totals)
    # All but what a second round of two stages may save.
    assert len(steps) > 0.5 * sum(totals)
    if n_members > 1:
        assert watching.begun[0] == (0, "fit", n_members)
