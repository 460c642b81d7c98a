"""One run of gradient training: epochs, validation, record, the way back."""

import copy
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from ..._numerics.network import Adam, batches
from ...engines import single_threaded_blas
from .._em.starts import linear_match, start_responsibilities
from .._em.trainers import EM
from .layout import check_continues
from .record import Record
from .revival import revive
from .task import Diverged, Phase

# Rows whose top expert is followed from epoch to epoch: so many, or fewer where these
# would have more weights than that, but not less than the least.
FOLLOWED_ROWS, FOLLOWED_CELLS, LEAST_FOLLOWED = 2048, 1 << 17, 256
# Weight of held-out rows, relative to their own, in the start from linear experts.
LEAST_WEIGHT = 1e-9


class Best(NamedTuple):
    """The best epoch so far, with what optimiser and router were then."""

    value: float
    theta: np.ndarray
    epoch: int
    phase: Phase
    optimizer: Adam
    router: dict


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
    split : Split
    rng : random generator
    state : State or None, of an earlier run to go on from
    guide : (n, K) or True or None
        Responsibilities that the first epochs follow; True for those of a linear
        mixture.
    goes_on : bool, whether the moments of the optimiser go on too
    """

    def __init__(
        self, trainer, problem, split, rng, state=None, guide=None, goes_on=False
    ):
        self.trainer, self.problem = trainer, problem
        self.task = problem.task
        self.n_passes = 0 if state is None else state.n_passes
        self.rng = rng
        self.losses = [clone(loss) for loss in trainer.losses]
        self.training, self.held_out, n_own = split
        self.own = np.arange(n_own)
        if guide is True:
            guide = guiding_responsibilities(self.task, self.training)
            guide = linear_match(self.task, guide)
        problem.guide = guide
        self._start(state, goes_on)
        self.frozen = np.flatnonzero(problem.frozen())
        self.ridge = problem.ridge().astype(self.theta.dtype)
        # Of each parameter of gate and experts, towards where it starts.
        self.anchor, self.pull = self.theta.copy(), problem.pull()
        self.everything = np.arange(len(problem.bounds))
        self.loss_names = numbered([type(loss).__name__ for loss in self.losses])
        self.record = Record(self.loss_names)
        self.best, self.stopped = None, False
        most = max(LEAST_FOLLOWED, FOLLOWED_CELLS // self.task.recipe.n_experts)
        step = -(-len(self.training) // min(FOLLOWED_ROWS, most))
        self.followed = self.training[::step]
        self.top, self.stage_start, self.waited = None, 0, False
        self.is_batch, self.converged, self.slowed = False, False, 1.0
        # The history of the run that this one goes on from.
        self.earlier = None
        self._let_router_know()

    def _let_router_know(self):
        """A router that goes by what rows hold learns of all of them first."""
        router, rows = self.task.recipe.router, self.task.rows
        if router.fits_first:
            alike = np.zeros((len(rows.weight), self.task.recipe.n_experts))
            router.fit_rows(alike, rows.gate_view, rows.weight)

    def _start(self, state, goes_on):
        """Parameters and optimiser."""
        trainer, problem = self.trainer, self.problem
        kind = problem.dtype
        self.optimizer = Adam(
            (trainer.weight_decay * problem.is_weight()).astype(kind),
            problem.bounds,
            trainer.rates(len(problem.bounds)),
            trainer.clip_norm,
        )
        if state is None:
            self.theta = problem.start().astype(kind)
            return
        check_continues(len(state.theta) == problem.n_parameters)
        self.theta = state.theta.astype(kind)
        problem.re_express(self.theta)
        if problem.late.any():
            problem.restart(self.theta)
        if goes_on and not problem.has_moved:
            self.optimizer.go_on(state.optimizer)

    def train_once(self):
        """One pass at the full learning rate, as it is in the end: sparse, cool."""
        with single_threaded_blas():
            self._train_once()

    def _train_once(self):
        trainer, self.is_batch = self.trainer, True
        last = trainer._temperatures()[1]
        phase = Phase(last, dense=False, dropout=trainer.expert_dropout)
        made = self._epoch(phase, lambda share: 1.0)
        self._fit_router(phase)
        self._record(phase, *made)
        self._keep(0.0, phase)

    def train(self):
        """Run the epochs; products of a batch are too small for BLAS threads."""
        with single_threaded_blas(), self.problem.team:
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
        """Stage by stage: guided, with all experts, within the active ones."""
        trainer, router = self.trainer, self.task.recipe.router
        guided = self.problem.guide is not None
        self.task.report.expect(trainer.max_epochs)
        plan = [
            (epoch, trainer.phase(epoch, router, guided))
            for epoch in range(trainer.max_epochs)
        ]
        for _, stage in groupby(plan, key=lambda own: own[1][1:3]):
            stage = list(stage)
            self._begin(stage[0][1])
            self._train_stage(stage)
            if self.stopped:
                break

    def _begin(self, phase):
        """Go on from the best epoch of the stages before, as it would predict now."""
        self.stage_start, self.converged, self.slowed = len(self.record), False, 1.0
        if self.best is None:
            return
        if self.held_out is not None and (self.waited or not phase.dense):
            own = self.best.theta, self.best.optimizer
            self.theta, self.optimizer = copy.deepcopy(own)
            self._restore(self.best.router)
        if self.best.phase.dense and not phase.dense:
            self._fit_router(phase)
            self._settle_variances(self.theta, phase)
            if self.held_out is not None:
                value, _ = self.problem.evaluate(self.theta, self.held_out, phase)
                self._keep(value, phase)

    def _train_stage(self, stage):
        """Epochs of a stage; those that early stopping spares are left out."""
        trainer = self.trainer
        for planned, phase in stage:
            made = self._epoch(
                phase,
                lambda share, e=planned: (
                    self.slowed * trainer.rate((e + share) / trainer.max_epochs)
                ),
            )
            self._fit_router(phase)
            self._record(phase, *made)
            epoch, bound = len(self.record) - 1, self.record["bound"][-1]
            self.stopped = self.task.report.iteration(epoch, bound, self.to_fit)
            waited = self._validate(phase)
            if self.stopped:
                return
            self.waited = waited >= trainer.n_iter_no_change and trainer.early_stopping
            if self.waited:
                break
            self._slow_down()
            self._revive(phase)
        settled = self.record.has_settled(self.stage_start, trainer.n_iter_no_change)
        self.converged = self.waited or settled

    def _slow_down(self):
        """Halve the learning rates where nothing is gained, if they go by that."""
        if self.trainer.schedule != "plateau":
            return
        patience = max(1, self.trainer.n_iter_no_change // 3)
        waited = self.record.waited(self.stage_start)
        if waited and waited % patience == 0:
            self.slowed *= 0.5

    def _revive(self, phase):
        """Start experts that serve nobody anew, every so many epochs."""
        every, epoch = self.trainer.revive, len(self.record)
        if every is None or epoch % every or phase.guided:
            return
        parts = self.problem, self.theta, self.optimizer
        self.record["revived"][-1] = revive(*parts, self.training, phase, self.rng)

    def _epoch(self, phase, rate):
        """Losses, loads and overflow of a pass; ``rate`` maps its share to a rate."""
        problem, trainer = self.problem, self.trainer
        n_batches = -(-len(self.training) // trainer.batch_size)
        gradient = np.zeros_like(self.theta)
        total, load, overflow = np.zeros(1 + len(self.losses)), 0.0, 0
        order = batches(len(self.training), trainer.batch_size, self.rng)
        for number, rows in enumerate(order):
            rows = self.training[rows]
            _, routing, values, touched = problem.gradient(
                self.theta, rows, self.rng, phase, self.losses, gradient
            )
            if self.task.start.pull:
                gradient += self.pull * (self.theta - self.anchor)
                touched = self.everything
            due = self.optimizer.due
            problem.add_penalty(self.theta, self.ridge, touched, due, gradient)
            held, now = self.theta[self.frozen], rate((number + 0.5) / n_batches)
            self.optimizer.step(self.theta, gradient, now, touched)
            self.theta[self.frozen] = held
            self._keep_floor()
            if not phase.dense:
                self.task.recipe.router.observe(routing)
            total += np.multiply(values, len(rows))
            load = load + routing.load
            overflow += routing.overflow
        if not np.isfinite(total.sum()):
            raise Diverged(f"a pass ended with a loss of {total.sum()}")
        return total / len(self.training), load / max(load.sum(), 1), overflow

    def _keep_floor(self):
        """Variances stay above the floor of the likelihood."""
        if self.task.rows.classes is None:
            variances = self.theta[self.problem.variances]
            np.maximum(variances, self._log_floor(), out=variances)

    def _log_floor(self):
        return np.log(max(self.task.recipe.likelihood.floor, np.finfo(float).tiny))

    def _record(self, phase, values, load, overflow):
        seen = self.problem.watched(self.theta, self.followed, phase)
        switched = 1.0 if self.top is None else float(np.mean(seen.top != self.top))
        self.top = seen.top
        values = [float(value) for value in values]
        self.record.add(
            bound=-sum(values) + self._jacobian(),
            load=load,
            overflow=overflow,
            switched=switched,
            task_loss=values[0] - self._jacobian(),
            held_out_loss=np.nan,
            gate_load=seen.load,
            gate_entropy=seen.entropy,
            phase=self._stage(phase),
            revived=0,
            **dict(zip(self.loss_names, values[1:], strict=True)),
        )

    def _stage(self, phase):
        """What the epochs of a phase are called."""
        if phase.guided:
            return "guided"
        dense = phase.dense or self.task.recipe.router.is_dense
        return "soft" if dense else "sparse"

    def _validate(self, phase):
        """Epochs of this stage since the least loss on the held-out rows."""
        if self.held_out is None:
            self._keep(0.0, phase)
            return 0
        value, _ = self.problem.evaluate(self.theta, self.held_out, phase)
        self.record["held_out_loss"][-1] = float(value) - self._jacobian()
        if self.best is None or value < self.best.value:
            self._keep(value, phase)
        epoch = len(self.record) - 1
        return epoch - max(self.best.epoch, self.stage_start - 1)

    def _keep(self, value, phase):
        """Note the present epoch as the best one."""
        epoch = len(self.record) - 1
        own = self.theta, self.optimizer, vars(self.task.recipe.router)
        theta, optimizer, router = copy.deepcopy(own)
        self.best = Best(value, theta, epoch, phase, optimizer, router)

    def _restore(self, state):
        """Let the router be as it was in an epoch."""
        own = vars(self.task.recipe.router)
        own.clear()
        own.update(copy.deepcopy(state))

    def _fit_router(self, phase):
        if not phase.dense and self.task.recipe.router.learns:
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
        """Fitted parts of the best epoch; training may go on from the present one."""
        now = copy.deepcopy(vars(self.task.recipe.router))
        if self.best is not None:
            self._restore(self.best.router)
        fit = self._fit()
        self._restore(now)
        return fit

    def of_experts(self, kept):
        """The same run at its best epoch, with some of the experts, by number."""
        other, router = copy.copy(self), copy.deepcopy(vars(self.task.recipe.router))
        self._restore(self.best.router)
        other.problem, places, segments = self.problem.of_experts(kept)
        self._restore(router)
        other.task = other.problem.task
        bounds = other.problem.bounds
        other.best = self.best._replace(
            theta=self.best.theta[places],
            optimizer=self.best.optimizer.only(places, bounds, segments),
            router=copy.deepcopy(vars(other.task.recipe.router)),
        )
        return other

    def _fit(self):
        problem, task = self.problem, self.task
        theta, phase = self._final()
        theta = theta.astype(float)
        every, rows = self.own, task.rows
        if task.recipe.router.learns:
            log_gate = problem.log_gate(theta, every, phase.temperature)
            given = rows.gate_view[every], rows.weight[every]
            task.recipe.router.fit_rows(log_gate, *given)
        self._settle_variances(theta, phase)
        gate, experts = problem.fitted_parts(theta, phase.temperature)
        value, load = problem.evaluate(theta, every, phase, likely=True)
        if not np.isfinite(value):
            raise Diverged(f"it ended with a loss of {value}")
        history = self.record.history(self.best, self.earlier)
        return task.made(
            gate,
            experts,
            problem.likelihoods(theta),
            log_likelihood=(self._jacobian() - value) * rows.weight[every].sum(),
            lower_bounds=self.record["bound"],
            load=load,
            n_iter=self.n_passes + len(self.record),
            converged=self.converged,
            history=history,
            router=copy.deepcopy(task.recipe.router),
            state=self._state(theta),
        )

    def _state(self, theta):
        return State(
            theta,
            copy.deepcopy(self.best.optimizer if self.best else self.optimizer),
            self.problem.designs(),
            self.problem.scales,
            copy.deepcopy(self.task.recipe.router),
            self.n_passes + len(self.record),
            self.problem.seen,
        )

    def _final(self):
        """Parameters and phase of the best epoch, as they predict."""
        if self.best is None:
            phase = self.trainer.phase(0, self.task.recipe.router)
            return self.theta.copy(), phase._replace(dense=False)
        return self.best.theta.copy(), self.best.phase._replace(dense=False)

    def _settle_variances(self, theta, phase):
        """Let variances be the spread of the rows that experts serve.

        Where some row has not all experts, since training with all of them, or with
        noise and capacities, fitted them to other rows; and without a likelihood in
        the objective, where nothing else gives them.
        """
        problem, variances = self.problem, self.problem.variances
        if variances.stop == variances.start:
            return
        held = self.held_out is not None and not problem.likely
        rows = self.held_out if held else self.training
        spread = problem.residuals(theta, rows, phase)
        # One batch of many is too little to go by.
        if problem.likely and (self.is_batch or not spread.is_sparse):
            return
        own = np.log(
            np.maximum(spread.variances(problem.n_variances), np.finfo(float).tiny)
        )
        free = ~self.problem.frozen()[variances]
        own = np.maximum(own, self._log_floor()).ravel()
        theta[variances] = np.where(free, own, theta[variances])


def numbered(names):
    """Names, those that are there before with their number."""
    counts = [names[:i].count(name) + 1 for i, name in enumerate(names)]
    return [
        name if count == 1 else f"{name}-{count}"
        for name, count in zip(names, counts, strict=True)
    ]


def generator(task, state):
    """Random generator of a run, another one for each that goes on."""
    n_passes = 0 if state is None else state.n_passes
    return np.random.default_rng([task.recipe.seed, n_passes])


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
