"""When the fused EM applies, and how its parameters become fitted parts."""

import numpy as np
from sklearn.base import clone

from ..._kernels.door import check_range
from ..._kernels.em import Labels
from ..._kernels.objectives import LOG_2PI
from ..._numerics.design import (
    empty_design,
    from_data_scale,
    make_design,
    read_only,
    target_scales,
)
from ..._numerics.linalg import Penalty, use_products
from ...experts._base import traits
from .._rows import is_numeric
from .fused import LinearGaussianMixture
from .fused_classes import LinearCategoricalMixture
from .wide import WideCategoricalMixture, WideGaussianMixture


def fits_fused(task):
    """Whether the parts are linear, dense and alike, so that one pass serves all."""
    recipe = task.recipe
    first, form = recipe.experts[0], recipe.gate.linear_form(task.rows.gate_view)
    return (
        form is not None
        and not recipe.router.masks_training
        and all(traits(e).is_linear for e in recipe.experts)
        and all(_penalised(e) == _penalised(first) for e in recipe.experts)
        and task.recipe.likelihood.has_fused_pass
        and is_numeric(task.rows.shared_view)
        and (form.columns is None or is_numeric(form.columns))
    )


def _penalised(expert):
    return expert.alpha, expert.l1_ratio, expert.standardize


def tree_of(task):
    """The tree of the task's gates; a flat gate is a tree of one node."""
    return task.recipe.gate.tree_for(task.recipe.n_experts)


def is_wide(task, view, form):
    """Whether a problem is solved by products with the columns of experts and gate.

    Sparse ones give nothing else; few of them are dense by now.
    """
    n_classes = 1 if task.rows.classes is None else len(task.rows.classes)
    systems = [(view, n_classes)]
    if form.columns is not None:
        systems.append((form.columns, max(tree_of(task).widths)))
    penalties = form.penalty, Penalty.of(task.recipe.experts[0])
    # Least squares and coordinate descent do well with their matrices.
    direct = n_classes == 1 or any(penalty.lasso for penalty in penalties)
    return any(use_products(X, 0 if direct else width) for X, width in systems)


class FusedTask:
    """A task in standardised units, and the way back.

    Attributes
    ----------
    problem : LinearMixture
    """

    def __init__(self, task, *, hard=False):
        self.task = task
        weight = read_only(task.rows.weight, float)
        form = task.recipe.gate.linear_form(task.rows.gate_view)
        standardize = task.recipe.experts[0].standardize, form.standardize
        view, columns = task.rows.shared_view, form.columns
        self.wide = is_wide(task, view, form)
        self.expert_design = make_design(view, weight, standardize[0])
        if columns is None:
            self.gate_design = empty_design(len(weight))
        elif columns is view and standardize[0] == standardize[1]:
            self.gate_design = self.expert_design
        else:
            self.gate_design = make_design(columns, weight, standardize[1])
        self.problem = self._make_problem(form, weight, hard)

    def _make_problem(self, form, weight, hard):
        task = self.task
        common = {
            "tree": tree_of(task),
            "gate_penalty": form.penalty,
            "expert_penalty": Penalty.of(task.recipe.experts[0]),
            "hard": hard,
            "n_jobs": task.recipe.n_jobs,
        }
        designs = self.gate_design, self.expert_design
        if task.rows.classes is not None:
            n_classes = len(task.rows.classes)
            check_range(task.rows.y, n_classes, "classes")
            offset = (
                np.zeros((0, n_classes))
                if task.rows.log_prior is None
                else task.rows.log_prior
            )
            labels = Labels(read_only(task.rows.y, np.int64), read_only(offset))
            kind = WideCategoricalMixture if self.wide else LinearCategoricalMixture
            return kind(*designs, labels, weight, n_classes=n_classes, **common)
        self.y_center, self.y_scale = target_scales(task.rows.y, weight)
        target = read_only((task.rows.y - self.y_center) / self.y_scale)
        if not task.recipe.experts[0].standardize:
            common["expert_penalty"] = self._in_units_of_y(common["expert_penalty"])
        kind = WideGaussianMixture if self.wide else LinearGaussianMixture
        return kind(
            *designs,
            target,
            weight,
            floor=max(task.recipe.likelihood.floor, np.finfo(float).tiny),
            shared_variance=task.recipe.likelihood.variance == "shared",
            **common,
        )

    def _in_units_of_y(self, penalty):
        """A lasso on coefficients of y, for those of the standardised target."""
        if penalty.lasso and len(self.y_scale) > 1:
            raise ValueError(
                "LinearExpert got l1_ratio > 0 and standardize=False for several "
                "outputs, whose units differ; expected standardize=True, or one output."
            )
        return penalty._replace(lasso=penalty.lasso * self.y_scale[0])

    @property
    def log_jacobian(self):
        """Nats per row from the standardised density to that of y."""
        if self.task.rows.classes is not None:
            return 0.0
        d = len(self.y_scale)
        return -0.5 * d * LOG_2PI - np.log(self.y_scale).sum()

    def to_fit(self, run, problem):
        """Fitted parts from a run of the problem, or of what is left of it."""
        parts, kept = problem.unpack(run.theta), problem.kept
        gate = self.task.recipe.gate.on(problem.tree)
        gate.set_standardised(parts[0], self.gate_design)
        make = self._regressors if self.task.rows.classes is None else self._classifiers
        experts, likelihoods = make(parts, kept)
        jacobian = self.log_jacobian
        total = problem.log_likelihood(run.statistics)
        return self.task.made(
            gate,
            experts,
            likelihoods,
            kept=list(kept),
            log_likelihood=total + jacobian * problem.total_weight,
            lower_bounds=[bound + jacobian for bound in run.bounds],
            load=problem.load(run.statistics),
            converged=run.converged,
        )

    def _regressors(self, parts, kept):
        _, coef, log_variance = parts
        n, d = log_variance.shape
        coef = coef.reshape(n, d, -1) * self.y_scale[:, None]
        coef[:, :, -1] += self.y_center
        sigma = np.exp(0.5 * log_variance) * self.y_scale
        experts = [
            clone(self.task.recipe.experts[k]).set_standardised(c, self.expert_design)
            for k, c in zip(kept, coef, strict=True)
        ]
        floored = (log_variance <= self.problem.log_floor).any(axis=1)
        likelihoods = [
            self.task.recipe.likelihood.with_sigma(s, n, bool(f))
            for s, f in zip(sigma, floored, strict=True)
        ]
        return experts, likelihoods

    def _classifiers(self, parts, kept):
        n_classes = len(self.task.rows.classes)
        coef = parts[1].reshape(len(kept), n_classes, -1)
        if self.task.recipe.experts[0].l1_ratio == 0:
            coef = coef - coef.mean(axis=1, keepdims=True)
        experts = []
        for k, c in zip(kept, coef, strict=True):
            expert = clone(self.task.recipe.experts[k])
            expert.classes_ = self.task.rows.classes
            experts.append(expert.set_standardised(c, self.expert_design))
        return experts, [clone(self.task.recipe.likelihood) for _ in experts]

    def from_fit(self, fit):
        """Parameters of an earlier fit, in today's standardised units."""
        gate = from_data_scale(fit.gate.coef_, fit.gate.intercept_, self.gate_design)
        experts, likelihoods = fit.objective_parts
        slopes = np.vstack([np.atleast_2d(e.coef_) for e in experts])
        intercepts = np.concatenate([np.atleast_1d(e.intercept_) for e in experts])
        coef = from_data_scale(slopes, intercepts, self.expert_design)
        if self.task.rows.classes is not None:
            return self.problem.pack(gate, coef)
        d = len(self.y_scale)
        coef = coef.reshape(-1, d, coef.shape[1])
        coef[:, :, -1] -= self.y_center
        coef /= self.y_scale[:, None]
        sigma = np.array([np.atleast_1d(x.sigma_) for x in likelihoods])
        log_variance = 2 * np.log(sigma / self.y_scale)
        log_variance = np.maximum(log_variance, self.problem.log_floor)
        return self.problem.pack(gate, coef.reshape(-1, coef.shape[2]), log_variance)
