"""One run of gradient training: epochs, validation, record, the way back."""

import copy
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from ..._numerics.network import Adam, batches
from ...engines import single_threaded_blas
from .._em.starts import linear_match, start_responsibilities
from .._em.trainers import EM
from .layout import check_continues
from .task import Diverged, Phase

# Rows whose top expert is followed from epoch to epoch.
FOLLOWED_ROWS = 2048
# Weight of held-out rows, relative to their own, in the start from linear experts.
LEAST_WEIGHT = 1e-9


class Best(NamedTuple):
    """The best epoch so far."""

    value: float
    theta: np.ndarray
    epoch: int
    phase: Phase


class State(NamedTuple):
    """What a later run continues from."""

    theta: np.ndarray
    optimizer: Adam
    designs: list
    scales: object
    router: object
    n_passes: int
    # Centres and spreads of the last batches; older states have none.
    seen: list | None = None


class GradientRun:
    """One training run: parameters, optimiser, record, best epoch.

    Parameters
    ----------
    trainer : Gradient
    problem : GradientTask
    state : State or None, of an earlier run to go on from
    split : pair of arrays or None
        Training rows, and held-out rows or None; drawn if None.
    guide : (n, K) or True or None
        Responsibilities that the first epochs follow; True for those of a linear
        mixture.
    goes_on : bool, whether the moments of the optimiser go on too
    """

    def __init__(
        self, trainer, problem, state=None, split=None, guide=None, goes_on=False
    ):
        self.trainer, self.problem = trainer, problem
        self.task = problem.task
        self.n_passes = 0 if state is None else state.n_passes
        self.rng = np.random.default_rng([self.task.recipe.seed, self.n_passes])
        self.losses = [clone(loss) for loss in trainer.losses]
        split = drawn_split(trainer, self.task, self.rng) if split is None else split
        self.training, self.held_out = split
        if guide is True:
            guide = guiding_responsibilities(self.task, self.training)
            guide = linear_match(self.task, guide)
        problem.guide = guide
        self._start(state, goes_on)
        self.frozen = np.flatnonzero(problem.frozen())
        self.ridge = problem.ridge()
        self.history = {"bound": [], "load": [], "overflow": [], "switched": []}
        self.best, self.stopped = None, False
        self.followed = self.training[:FOLLOWED_ROWS]
        self.top = None
        # A schedule that ends has nothing left to gain from more epochs.
        self.converged = trainer.schedule != "constant"

    def _start(self, state, goes_on):
        """Parameters and optimiser."""
        trainer, problem = self.trainer, self.problem
        self.optimizer = Adam(
            trainer.weight_decay * problem.is_weight(), trainer.clip_norm
        )
        if state is None:
            self.theta = problem.start()
            return
        check_continues(len(state.theta) == problem.n_parameters)
        self.theta = state.theta.copy()
        problem.re_express(self.theta)
        if problem.late.any():
            problem.restart(self.theta)
        if goes_on and not problem.has_moved:
            self.optimizer = copy.deepcopy(state.optimizer)

    def train_once(self):
        """One pass at the full learning rate, as it is in the end: sparse, cool."""
        with single_threaded_blas():
            self._train_once()

    def _train_once(self):
        trainer = self.trainer
        last = trainer._temperatures()[1]
        phase = Phase(last, dense=False, dropout=trainer.expert_dropout)
        value, load, overflow = self._epoch(phase, lambda share: trainer.learning_rate)
        self._fit_router(phase)
        self._record(phase, value, load, overflow)
        self.best = Best(0.0, self.theta, 0, phase)

    def train(self):
        """Run the epochs; products of a batch are too small for BLAS threads."""
        with single_threaded_blas():
            self._train()

    @contextmanager
    def told(self):
        """Steps that were too long are told with what makes them shorter."""
        try:
            yield
        except Diverged as error:
            rate = self.trainer.learning_rate
            raise ValueError(
                f"Gradient diverged: {error}; lower learning_rate={rate!r} or set "
                "clip_norm."
            ) from None

    def _train(self):
        trainer = self.trainer
        n_epochs = trainer.max_epochs
        self.task.report.expect(n_epochs)
        for epoch in range(n_epochs):
            phase = trainer.phase(
                epoch, self.task.recipe.router, self.problem.guide is not None
            )
            value, load, overflow = self._epoch(
                phase, lambda share, e=epoch: trainer.rate((e + share) / n_epochs)
            )
            self._fit_router(phase)
            self._record(phase, value, load, overflow)
            stop = self.task.report.iteration(
                epoch, -value + self._jacobian(), self.to_fit
            )
            waited = self._validate(epoch, phase)
            if stop:
                self.stopped = True
                break
            if waited >= trainer.n_iter_no_change and trainer.early_stopping:
                self.converged = True
                break

    def _epoch(self, phase, rate):
        """Loss, loads and overflow of a pass; ``rate`` maps its share to a rate."""
        problem, trainer = self.problem, self.trainer
        n_batches = -(-len(self.training) // trainer.batch_size)
        gradient = np.empty_like(self.theta)
        total, load, overflow = 0.0, 0.0, 0
        order = batches(len(self.training), trainer.batch_size, self.rng)
        for number, rows in enumerate(order):
            rows = self.training[rows]
            gradient[:] = problem.penalty_gradient(self.theta, self.ridge)
            value, routing = problem.gradient(
                self.theta, rows, self.rng, phase, self.losses, gradient
            )
            held = self.theta[self.frozen]
            self.optimizer.step(self.theta, gradient, rate((number + 0.5) / n_batches))
            self.theta[self.frozen] = held
            self._keep_floor()
            if not phase.dense:
                self.task.recipe.router.observe(routing)
            total += value * len(rows)
            load = load + routing.load
            overflow += routing.overflow
        if not np.isfinite(total):
            raise Diverged(f"a pass ended with a loss of {total}")
        return total / len(self.training), load / max(load.sum(), 1), overflow

    def _keep_floor(self):
        """Variances stay above the floor of the likelihood."""
        if self.task.rows.classes is None:
            variances = self.theta[self.problem.variances]
            np.maximum(variances, self._log_floor(), out=variances)

    def _log_floor(self):
        return np.log(max(self.task.recipe.likelihood.floor, np.finfo(float).tiny))

    def _record(self, phase, value, load, overflow):
        top = self.problem.top_experts(self.theta, self.followed, phase)
        switched = 1.0 if self.top is None else float(np.mean(top != self.top))
        self.top = top
        self.history["bound"].append(-value + self._jacobian())
        self.history["load"].append(load)
        self.history["overflow"].append(overflow)
        self.history["switched"].append(switched)

    def _validate(self, epoch, phase):
        """Epochs since the least loss on the held-out rows."""
        if self.held_out is None:
            self.best = Best(0.0, self.theta, epoch, phase)
            return 0
        value, _ = self.problem.evaluate(self.theta, self.held_out, phase)
        # A sparse mixture does not compete with the dense one that it came from.
        changed = self.best is not None and self.best.phase.dense != phase.dense
        if self.best is None or changed or value < self.best.value:
            self.best = Best(value, self.theta.copy(), epoch, phase)
        waits = not phase.dense or self.task.recipe.router.soft_share in (0.0, 1.0)
        waits = waits and not phase.guided
        return epoch - self.best.epoch if waits else 0

    def _fit_router(self, phase):
        if not phase.dense:
            log_gate = self.problem.log_gate(
                self.theta, self.training, phase.temperature
            )
            rows, own = self.task.rows, self.training
            self.task.recipe.router.fit_rows(
                log_gate, rows.gate_view[own], rows.weight[own]
            )

    def _jacobian(self):
        """Nats per row from the standardised density to that of y."""
        if self.task.rows.classes is not None:
            return 0.0
        return -float(np.sum(np.log(self.problem.y_scale)))

    def to_fit(self):
        """Fitted parts of the best epoch."""
        problem, task = self.problem, self.task
        theta, phase = self._final()
        every = np.arange(len(task.rows.weight))
        log_gate = problem.log_gate(theta, every, phase.temperature)
        rows = task.rows
        task.recipe.router.fit_rows(log_gate, rows.gate_view, rows.weight)
        gate, experts = problem.fitted_parts(theta, phase.temperature)
        self._settle_variances(theta, phase)
        value, load = problem.evaluate(theta, every, phase, likely=True)
        if not np.isfinite(value):
            raise Diverged(f"it ended with a loss of {value}")
        return task.made(
            gate,
            experts,
            problem.likelihoods(theta),
            log_likelihood=(self._jacobian() - value) * task.rows.weight.sum(),
            lower_bounds=self.history["bound"],
            load=load,
            n_iter=self.n_passes + len(self.history["bound"]),
            converged=self.converged,
            history=copy.deepcopy(self.history),
            router=copy.deepcopy(task.recipe.router),
            state=self._state(theta),
        )

    def _state(self, theta):
        return State(
            theta,
            copy.deepcopy(self.optimizer),
            self.problem.designs(),
            self.problem.scales,
            copy.deepcopy(self.task.recipe.router),
            self.n_passes + len(self.history["bound"]),
            self.problem.seen,
        )

    def _final(self):
        """Parameters and phase of the best epoch, as they predict."""
        best = self.best
        if best is None:
            best = Best(
                0.0, self.theta, 0, self.trainer.phase(0, self.task.recipe.router)
            )
        return best.theta.copy(), best.phase._replace(dense=False)

    def _settle_variances(self, theta, phase):
        """Without a likelihood in the objective: the spread of held-out residuals."""
        variances = self.problem.variances
        if variances.stop > variances.start and not self.problem.likely:
            rows = self.training if self.held_out is None else self.held_out
            spread = self.problem.residual_variance(theta, rows, phase)
            theta[variances] = np.maximum(spread, self._log_floor())


def drawn_split(trainer, task, rng):
    """Training rows, and held-out rows or None."""
    n_rows = len(task.rows.weight)
    order = rng.permutation(n_rows)
    n_held = int(np.ceil(trainer.validation_fraction * n_rows))
    if not trainer.early_stopping or n_held < 1 or n_rows - n_held < 2:
        return np.sort(order), None
    return np.sort(order[n_held:]), np.sort(order[:n_held])


def guiding_responsibilities(task, rows):
    """Responsibilities (n, K) of a linear mixture, briefly trained on some rows."""
    # Held-out rows must not decide, but every part of the rows needs some weight.
    weight = LEAST_WEIGHT * task.rows.weight
    weight[rows] = task.rows.weight[rows]
    with single_threaded_blas():
        rng = np.random.RandomState(task.recipe.seed)
        task = task.with_start(n_init=1).with_rows(weight=weight)
        resp = start_responsibilities(EM().for_recipe(task.recipe), task, rng)[0]
    if task.recipe.gate.follows_paths:
        return resp
    # By name, so that the order of the experts does not matter.
    return resp[
        :, np.argsort(np.argsort(task.recipe.names, kind="stable"), kind="stable")
    ]
