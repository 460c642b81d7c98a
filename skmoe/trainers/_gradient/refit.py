"""Gates trained by gradient between weighted refits of experts that are no networks."""

import copy
from dataclasses import replace

import numpy as np

from ... import mixture
from ...engines import run_calls
from ...experts._base import is_frozen
from ...likelihoods._categorical import log_proba
from .._em.matching import Matcher
from .._em.refit import RefitMixture, log_weights
from .gate import expert_draws
from .layout import fitted_gate
from .record import in_rounds, joined
from .removal import without_idle
from .run import GradientRun, generator, guiding_responsibilities
from .task import GradientTask
from .validation import with_judges


class GatingTask(GradientTask):
    """A task whose experts are given, so that only the gate is trained.

    Parameters
    ----------
    task, objective, state
        As for :class:`GradientTask`.
    parts : Parts
        Fitted experts and likelihoods.
    predictions : list of K arrays (n, d), or of log-probabilities (n, C)
    n_own
        As for :class:`GradientTask`.
    """

    def __init__(self, task, objective, parts, predictions, state=None, n_own=None):
        self.parts = parts
        super().__init__(task, objective, state, n_own)
        self._scaled = np.stack(
            [(p - self.y_center) / self.y_scale for p in predictions], axis=1
        )
        self._log_variance = None
        if task.rows.classes is None:
            variance = [x.penalty_variance(self.n_outputs) for x in parts.likelihoods]
            self._log_variance = np.log(np.array(variance) / self.y_scale**2)

    def _views(self):
        return [self.task.rows.gate_view]

    def _lay_out(self):
        self._lay_out_gate()
        self.n_parameters = self.gate.n_parameters
        self.variances = slice(self.n_parameters, self.n_parameters)
        self.n_variances, self.expert_slices = 0, []
        self.bounds = self.segments()
        self.scaled_by = np.full(1, -1, dtype=np.int64)

    def of_experts(self, kept):
        other, *places = super().of_experts(kept)
        other._scaled, own = self._scaled[:, kept], self.parts
        if self._log_variance is not None:
            other._log_variance = self._log_variance[kept]
        other.parts = own._replace(
            experts=[own.experts[k] for k in kept],
            likelihoods=[own.likelihoods[k] for k in kept],
        )
        return other, *places

    def start(self):
        return self.start_gate(expert_draws(self.task))

    def is_weight(self):
        return self.gate.is_weight()

    def ridge(self):
        return self.is_weight() * self.gate.alpha / self.n_own

    def restart(self, theta):
        """The experts have their outputs from elsewhere."""

    def _re_express_experts(self, theta, moves):
        """In units of their own."""

    def frozen(self):
        return np.zeros(self.n_parameters, dtype=bool)

    def log_variance(self, theta):
        return self._log_variance

    def touched(self, experts):
        return np.zeros(1, dtype=np.int64)

    def _forward_experts(self, theta, rows, routing, dropout=0.0, rng=None):
        nobody = np.zeros(1, dtype=np.int64)
        return nobody, nobody, None, self._scaled[rows[:, None], routing.indices]

    def _backward_experts(self, theta, scratch, deltas, gradient, dropout):
        """Experts are fitted elsewhere."""

    def _add_variances(self, slope, gradient):
        """So are their variances."""

    def fitted_parts(self, theta, temperature):
        return fitted_gate(self, theta, temperature), self.parts.experts

    def likelihoods(self, theta):
        return self.parts.likelihoods


class AlternatingRun:
    """Rounds of refits and gate training; the best round counts.

    Rows that only judge are seen by the gate behind the others; experts are asked what
    they predict of them.
    """

    def __init__(self, trainer, task, split):
        self.task, self.split = task, split
        self.gating = with_judges(task, experts=False)
        frozen = all(is_frozen(expert) for expert in task.recipe.experts)
        self.n_rounds = 1 if frozen else trainer.max_refits
        self.trainer = trainer
        weight = np.zeros_like(task.rows.weight)
        weight[split.training] = task.rows.weight[split.training]
        # Experts must not have seen the rows by which rounds are compared.
        self.experts = RefitMixture(task.with_rows(weight=weight))

    def fit(self):
        """The best round, with the record of all."""
        histories, kept, n_done, earlier = [], 0, 0, self.task.start.warm
        best, state, parts, fit = None, None, None, earlier
        predictions = None
        self.task.report.expect(self.n_rounds * self.trainer.max_epochs)
        for number in range(self.n_rounds):
            resp = self._responsibilities(fit, predictions, number)
            parts = self.experts.refit(parts, resp)
            predictions = self.experts.predictions(parts)
            run = self._train_gate(parts, predictions, state, n_done, resp)
            fit = run.to_fit()
            state = fit.state
            histories.append(fit.history)
            n_done += len(fit.history["bound"])
            held = self.split.held_out is not None
            value = run.best.value if held else -number
            if best is None or value <= best[0]:
                best, kept = (value, fit, run), number
            if run.stopped:
                break
        history = in_rounds(histories, kept)
        bounds = [float(bound) for bound in history["bound"]]
        history = history if earlier is None else joined(earlier.history, history)
        n_iter, (_, fit, run) = len(history["bound"]), best
        fit = replace(fit, history=history, lower_bounds=bounds, n_iter=n_iter)
        return without_idle(self.trainer, run, fit)

    def _of_all(self, parts, predictions):
        """Predictions of the experts for all rows of the gate, those that judge too."""
        judges = self.task.rows.judges
        if judges is None:
            return predictions
        calls = [
            (expert, view, judges.log_prior)
            for expert, view in zip(parts.experts, judges.expert_views, strict=True)
        ]
        others = run_calls(judges.answer_of, calls, self.task.recipe.n_jobs)
        pairs = zip(predictions, others, strict=True)
        return [np.concatenate(pair) for pair in pairs]

    def _train_gate(self, parts, predictions, state, n_done, resp):
        predictions, rows = self._of_all(parts, predictions), self.gating.rows
        if rows.classes is not None:
            predictions = [log_proba(p) for p in predictions]
        if rows.log_prior is not None:
            # The task adds it to whatever the experts say.
            predictions = [p - rows.log_prior for p in predictions]

        def report(epoch, bound, make_fit):
            return self.task.report.iteration(n_done + epoch, bound, make_fit)

        router = self.task.recipe.router if state is None else state.router
        task = replace(self.gating, report=replace(self.task.report, iteration=report))
        task = task.with_recipe(router=copy.deepcopy(router))
        given = task, self.trainer.objective, parts, predictions, state
        problem = GatingTask(*given, self.split.n_own)
        guided = state is None and self.trainer.start == "linear"
        guide = resp if guided else None
        rng = generator(task, state)
        run = GradientRun(self.trainer, problem, self.split, rng, state, guide)
        run.train()
        return run

    def _responsibilities(self, fit, predictions, number):
        """Of the linear start at first; then those of the last round, routed late."""
        task = self.task
        if fit is None:
            if self.trainer.start == "linear":
                guide = guiding_responsibilities(task, self.split.training)
                return Matcher(self.experts)(guide)
            rng = np.random.default_rng(task.recipe.seed)
            return rng.dirichlet(
                np.ones(task.recipe.n_experts), size=len(task.rows.weight)
            )
        log_gate = fit.gate.predict_log_proba(task.rows.gate_view)
        if number >= task.recipe.router.soft_share * self.n_rounds:
            log_gate = self._routed(fit, log_gate)
        if predictions is None:
            predictions = self.experts.predictions(fit)
        log_prob = mixture.log_prob(fit.likelihoods, task.rows.y, predictions)
        return mixture.responsibilities(log_gate, log_prob)

    def _routed(self, fit, log_gate):
        """Log-weights (n, K) of the experts that rows have in the last rounds.

        By a router with a rule of its own in training, of the training rows alone.
        """
        view, router, own = self.task.rows.gate_view, fit.router, self.split.training
        if router.masks_training:
            n_active = router.n_active(log_gate.shape[1])
            log_gate[own] = log_weights(fit.gate, view[own], router, n_active)
            return log_gate
        with np.errstate(divide="ignore"):
            return np.log(fit.gate.route(view, router).dense())
