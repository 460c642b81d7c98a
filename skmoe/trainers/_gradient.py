"""Joint training of gate and experts by mini-batches."""

import copy
import numbers
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, clone

from .._network import Adam, batches
from ..engines import single_threaded_blas
from ._em import EM
from ._gradient_task import GradientTask, Phase, check_differentiable, set_parts
from ._starts import start_responsibilities
from ._task import Fit, check_router

CHOICES = {
    "objective": ("likelihood", "prediction"),
    "start": ("linear", "random"),
    "schedule": ("constant", "cosine"),
}


def _counts(value):
    return isinstance(value, numbers.Integral) and value >= 1


def _is_share(value):
    return 0 <= value < 1


def _is_temperature(value):
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    return len(pair) == 2 and all(t > 0 for t in pair)


RANGES = {
    "batch_size": (_counts, "an integer >= 1"),
    "max_epochs": (_counts, "an integer >= 1"),
    "n_iter_no_change": (_counts, "an integer >= 1"),
    "expert_dropout": (_is_share, "a number in [0, 1)"),
    "validation_fraction": (_is_share, "a number in [0, 1)"),
    "warmup": (_is_share, "a number in [0, 1)"),
    "learning_rate": (lambda value: value > 0, "a number > 0"),
    "clip_norm": (lambda value: value is None or value > 0, "None or a number > 0"),
    "weight_decay": (lambda value: value >= 0, "a number >= 0"),
    "temperature": (_is_temperature, "a number > 0 or a pair of them"),
}
# Share of the epochs that follow the responsibilities of the linear start.
GUIDED_SHARE = 0.1
# Rows whose top expert is followed from epoch to epoch.
FOLLOWED_ROWS = 2048


class Gradient(BaseEstimator):
    """Adam on the mixture's log-likelihood, gate and experts together.

    For gates and experts that are networks (:class:`~skmoe.gates.SoftmaxGate`,
    :class:`~skmoe.gates.MLPGate`, :class:`~skmoe.experts.LinearExpert`,
    :class:`~skmoe.experts.MLPExpert`), under any router: a batch computes only the
    experts that its rows were routed to.

    Parameters
    ----------
    objective : {"likelihood", "prediction"}, default="likelihood"
        Log-likelihood of the mixture, or the squared error (cross-entropy) of the
        combined prediction.
    losses : list of losses, default=()
        Auxiliary losses of :mod:`skmoe.losses`, added to the objective.
    start : {"linear", "random"}, default="linear"
        In the first tenth of the epochs the responsibilities are those of a mixture of
        linear experts, briefly trained by EM; or gate and experts start from random
        weights and find their roles alone.
    learning_rate : float, default=0.01
    batch_size : int, default=128
    max_epochs : int, default=200
    schedule : {"cosine", "constant"}, default="cosine"
        Learning rate over the epochs, after the warm-up.
    warmup : float, default=0.05
        Share of the steps in which the learning rate rises from zero.
    weight_decay : float, default=0.0
        Decoupled decay of weights (AdamW), beside the ``alpha`` of the parts.
    clip_norm : float or None, default=1.0
        Largest norm of a gradient.
    temperature : float or (float, float), default=1.0
        Divides the gate's logits; a pair is annealed from the first to the second.
    expert_dropout : float, default=0.0
        Share of the hidden units of the experts that a batch leaves out.
    early_stopping : bool, default=True
        Keep the epoch with the least loss on held-out rows, and stop when it does not
        fall any more.
    validation_fraction : float, default=0.1
        Share of the rows that is held out.
    n_iter_no_change : int, default=15
        Epochs without a lower loss before training stops.

    References
    ----------
    .. [1] Jacobs, R. A., Jordan, M. I., Nowlan, S. J., Hinton, G. E. (1991). Adaptive
       mixtures of local experts. Neural Computation 3, eq. 1.3.
    .. [2] Loshchilov, I., Hutter, F. (2019). Decoupled weight decay regularization.
       ICLR.
    .. [3] Fedus, W., Zoph, B., Shazeer, N. (2021). Switch transformers. JMLR 23,
       section 2.4 (expert dropout).

    Examples
    --------
    >>> from skmoe.trainers import Gradient
    >>> Gradient(max_epochs=20)
    Gradient(max_epochs=20)
    """

    def __init__(
        self,
        objective="likelihood",
        losses=(),
        start="linear",
        learning_rate=0.01,
        batch_size=128,
        max_epochs=200,
        schedule="cosine",
        warmup=0.05,
        weight_decay=0.0,
        clip_norm=1.0,
        temperature=1.0,
        expert_dropout=0.0,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=15,
    ):
        self.objective = objective
        self.losses = losses
        self.start = start
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.temperature = temperature
        self.expert_dropout = expert_dropout
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                self._refuse(name, f"one of {allowed}")
        for name, (fits, expected) in RANGES.items():
            if not fits(getattr(self, name)):
                self._refuse(name, expected)
        for loss in self.losses:
            loss.check()

    def _refuse(self, name, expected):
        raise ValueError(
            f"Gradient got {name}={getattr(self, name)!r}, but expected {expected}."
        )

    def _temperatures(self):
        pair = self.temperature
        return tuple(pair) if isinstance(pair, (tuple, list)) else (pair, pair)

    def fit_task(self, task):
        """Train the parts of a task; returns a ``Fit``."""
        run = self._run(task)
        run.train()
        return run.to_fit()

    def partial_task(self, task):
        """One pass over the rows of a task, from where the last one ended."""
        run = self._run(task, whole=True)
        run.train_once()
        return run.to_fit()

    def _run(self, task, whole=False):
        self.check()
        check_router(task.router, "gradient", self, task.has_shared)
        check_differentiable(task)
        state = _state_of(task.warm_start)
        router = clone(task.router) if state is None else copy.deepcopy(state.router)
        task = replace(task, router=router)
        return GradientRun(
            self, GradientTask(task, self.objective, state), state, whole
        )

    def phase(self, epoch, router, guided=False):
        """Temperature, and whether all experts are active, in an epoch."""
        first, last = self._temperatures()
        share = epoch / max(self.max_epochs - 1, 1)
        guided = guided and epoch < GUIDED_SHARE * self.max_epochs
        return Phase(
            temperature=first * (last / first) ** share,
            dense=guided or epoch < router.soft_share * self.max_epochs,
            guided=guided,
            dropout=self.expert_dropout,
        )

    def rate(self, share):
        """Learning rate after a share of the steps."""
        if share < self.warmup:
            return self.learning_rate * share / self.warmup
        if self.schedule == "constant":
            return self.learning_rate
        rest = (share - self.warmup) / (1.0 - self.warmup)
        return self.learning_rate * 0.5 * (1.0 + np.cos(np.pi * rest))


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


class GradientRun:
    """One training run: parameters, optimiser, record, best epoch."""

    def __init__(self, trainer, problem, state=None, whole=False):
        self.trainer, self.problem = trainer, problem
        self.task = problem.task
        self.n_passes = 0 if state is None else state.n_passes
        self.rng = np.random.default_rng([self.task.seed, self.n_passes])
        self.losses = [clone(loss) for loss in trainer.losses]
        self.training, self.held_out = self._split(whole)
        self.guided = trainer.start == "linear" and state is None and not whole
        if self.guided:
            problem.guide = guiding_responsibilities(self.task)
        self._start(state, whole)
        self.frozen = np.flatnonzero(problem.frozen())
        self.ridge = problem.ridge()
        self.history = {"bound": [], "load": [], "overflow": [], "switched": []}
        self.best = None
        self.followed = self.training[:FOLLOWED_ROWS]
        self.top = None
        # A schedule that ends has nothing left to gain from more epochs.
        self.converged = trainer.schedule != "constant"

    def _start(self, state, whole):
        """Parameters and optimiser, whose moments go on in partial fits only."""
        trainer, problem = self.trainer, self.problem
        self.optimizer = Adam(
            trainer.weight_decay * problem.is_weight(), trainer.clip_norm
        )
        if state is None:
            self.theta = problem.start()
            return
        if len(state.theta) != problem.n_parameters:
            raise ValueError(
                f"The fitted mixture has {len(state.theta)} parameters, but gate and "
                f"experts as they are set now have {problem.n_parameters}; clone the "
                "estimator to start afresh."
            )
        self.theta = state.theta.copy()
        if whole:
            self.optimizer = copy.deepcopy(state.optimizer)

    def _split(self, whole):
        n_rows = len(self.task.weight)
        if whole:
            return np.arange(n_rows), None
        order = self.rng.permutation(n_rows)
        trainer = self.trainer
        n_held = int(np.ceil(trainer.validation_fraction * n_rows))
        if not trainer.early_stopping or n_held < 1 or n_rows - n_held < 2:
            return np.sort(order), None
        return np.sort(order[n_held:]), np.sort(order[:n_held])

    def train_once(self):
        """One pass at the full learning rate, as it is in the end: sparse, cool."""
        trainer = self.trainer
        last = trainer._temperatures()[1]
        phase = Phase(last, dense=False, dropout=trainer.expert_dropout)
        value, load, overflow = self._epoch(phase, lambda share: trainer.learning_rate)
        self._fit_router(phase)
        self._record(phase, value, load, overflow)
        self.best = Best(0.0, self.theta, 0, phase)

    def train(self):
        """Run the epochs."""
        trainer = self.trainer
        n_epochs = trainer.max_epochs
        for epoch in range(n_epochs):
            phase = trainer.phase(epoch, self.task.router, self.guided)
            value, load, overflow = self._epoch(
                phase, lambda share, e=epoch: trainer.rate((e + share) / n_epochs)
            )
            self._fit_router(phase)
            self._record(phase, value, load, overflow)
            stop = self.task.report(epoch, -value + self._jacobian(), self.to_fit)
            waited = self._validate(epoch, phase)
            if stop:
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
                self.task.router.observe(routing)
            total += value * len(rows)
            load = load + routing.load
            overflow += routing.overflow
        if not np.isfinite(total):
            raise ValueError(
                f"Gradient diverged: a pass ended with a loss of {total}; lower "
                f"learning_rate={trainer.learning_rate!r} or set clip_norm."
            )
        return total / len(self.training), load / max(load.sum(), 1), overflow

    def _keep_floor(self):
        """Variances stay above the floor of the likelihood."""
        if self.task.classes is None:
            variances = self.theta[self.problem.variances]
            np.maximum(variances, self._log_floor(), out=variances)

    def _log_floor(self):
        return np.log(max(self.task.likelihood.floor, np.finfo(float).tiny))

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
        waits = not phase.dense or self.task.router.soft_share in (0.0, 1.0)
        waits = waits and not phase.guided
        return epoch - self.best.epoch if waits else 0

    def _fit_router(self, phase):
        if not phase.dense:
            log_gate = self.problem.log_gate(
                self.theta, self.training, phase.temperature
            )
            self.task.router.fit(log_gate, X=self.task.gate_view[self.training])

    def _jacobian(self):
        """Nats per row from the standardised density to that of y."""
        if self.task.classes is not None:
            return 0.0
        return -float(np.sum(np.log(self.problem.y_scale)))

    def to_fit(self):
        """Fitted parts of the best epoch."""
        problem, task = self.problem, self.task
        theta, phase = self._final()
        every = np.arange(len(task.weight))
        log_gate = problem.log_gate(theta, every, phase.temperature)
        task.router.fit(log_gate, X=task.gate_view)
        gate, experts = set_parts(problem, theta, phase.temperature)
        self._settle_variances(theta, phase)
        value, load = problem.evaluate(theta, every, phase, likely=True)
        return Fit(
            gate=gate,
            experts=experts,
            likelihoods=self._likelihoods(theta),
            kept=list(range(task.n_experts)),
            log_likelihood=float((self._jacobian() - value) * task.weight.sum()),
            lower_bounds=[float(b) for b in self.history["bound"]],
            load=load,
            n_iter=self.n_passes + len(self.history["bound"]),
            converged=self.converged,
            history=copy.deepcopy(self.history),
            router=copy.deepcopy(task.router),
            state=self._state(theta),
        )

    def _state(self, theta):
        return State(
            theta,
            copy.deepcopy(self.optimizer),
            self.problem.designs(),
            self.problem.scales,
            copy.deepcopy(self.task.router),
            self.n_passes + len(self.history["bound"]),
        )

    def _final(self):
        """Parameters and phase of the best epoch, as they predict."""
        best = self.best
        if best is None:
            best = Best(0.0, self.theta, 0, self.trainer.phase(0, self.task.router))
        return best.theta.copy(), best.phase._replace(dense=False)

    def _settle_variances(self, theta, phase):
        """Without a likelihood in the objective: the spread of held-out residuals."""
        if self.task.classes is None and not self.problem.likely:
            rows = self.training if self.held_out is None else self.held_out
            spread = self.problem.residual_variance(theta, rows, phase)
            theta[self.problem.variances] = np.maximum(spread, self._log_floor())

    def _likelihoods(self, theta):
        task = self.task
        if task.classes is not None:
            return [clone(task.likelihood) for _ in task.experts]
        sigma = np.exp(0.5 * self.problem.log_variance(theta)) * self.problem.y_scale
        return [task.likelihood.with_sigma(s, task.n_experts) for s in sigma]


def _state_of(fit):
    """State of an earlier fit, or None without one."""
    if fit is not None and fit.state is None:
        raise ValueError(
            "The mixture was fitted by another trainer, from which Gradient cannot go "
            "on; clone the estimator to start afresh."
        )
    return None if fit is None else fit.state


def guiding_responsibilities(task):
    """Responsibilities (n, K) of a briefly trained linear mixture."""
    with single_threaded_blas():
        rng = np.random.RandomState(task.seed)
        resp = start_responsibilities(EM(), replace(task, n_init=1), rng)[0]
    # By name, so that the order of the experts does not matter.
    return resp[:, np.argsort(np.argsort(task.names, kind="stable"), kind="stable")]
