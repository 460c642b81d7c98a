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
from ...experts._glm import given_to
from .._order import kinds_of
from .._rows import is_numeric
from .fused import LinearGaussianMixture
from .fused_classes import LinearCategoricalMixture
from .fused_common import CommonGaussianMixture, SubjectCommonMixture
from .fused_fixed import (
    FixedCommonMixture,
    FixedGaussianMixture,
    SubjectFixedCommonMixture,
    SubjectFixedMixture,
)
from .fused_subjects import SubjectCategoricalMixture, SubjectGaussianMixture
from .penalties import ByEvidence
from .wide import WideCategoricalMixture, WideGaussianMixture

GAUSSIAN = LinearGaussianMixture, WideGaussianMixture, SubjectGaussianMixture
# Of few columns, of many, which the general EM refuses, and of subjects.
COMMON = CommonGaussianMixture, None, SubjectCommonMixture
# With given coefficients.
FIXED = FixedGaussianMixture, None, SubjectFixedMixture
FIXED_COMMON = FixedCommonMixture, None, SubjectFixedCommonMixture
CATEGORICAL = (
    LinearCategoricalMixture,
    WideCategoricalMixture,
    SubjectCategoricalMixture,
)


def fits_fused(task):
    """Whether the parts are linear, dense and alike, so that one pass serves all."""
    form = task.recipe.gate.linear_form(task.rows.gate_rows)
    fits = (
        form is not None
        and are_linear(task.recipe)
        and is_numeric(task.rows.shared_view)
        and (form.columns is None or is_numeric(form.columns))
    )
    needs_grams = task.rows.are_grouped or bool(task.recipe.common) or holds(task)
    return fits and not (needs_grams and is_wide(task))


def holds(task):
    """Whether some coefficients of experts are given."""
    return any(traits(expert).holds for expert in task.recipe.experts)


def hold_others(task):
    """Whether experts are given other coefficients than each other, so that it matters
    which of them has which rows."""
    return holds(task) and len(set(kinds_of(task))) > 1


def is_wide(task):
    """Whether linear parts are solved by products with the columns that they see.

    Sparse ones give nothing else; few of them are dense by now.
    """
    rows, form = task.rows, task.recipe.gate.linear_form(task.rows.gate_rows)
    n_classes = 1 if rows.classes is None else len(rows.classes)
    systems = [(rows.shared_view, n_classes)]
    if form.columns is not None:
        tree = task.recipe.gate.tree_for(task.recipe.n_experts)
        systems.append((form.columns, max(tree.widths)))
    # Least squares and coordinate descent do well with their matrices.
    lasso = form.penalty.lasso or Penalty.of(task.recipe.experts[0]).lasso
    direct = n_classes == 1 or lasso
    return any(use_products(X, 0 if direct else width) for X, width in systems)


def are_linear(parts):
    """Whether experts are linear and alike, so that one pass serves all."""
    first = parts.experts[0]
    return (
        not parts.router.masks_training
        and all(traits(e).is_linear for e in parts.experts)
        and not any(traits(e).through_origin for e in parts.experts)
        and all(_penalised(e) == _penalised(first) for e in parts.experts)
        and parts.likelihood.has_fused_pass
    )


def _penalised(expert):
    return expert.alpha, expert.l1_ratio, expert.standardize


def spent_by(part):
    """Effective coefficients of a fitted part; NaN where evidence was not asked."""
    return np.nan if part.effective_ is None else part.effective_


class FusedTask:
    """A task in standardised units, and the way back.

    Attributes
    ----------
    problem : LinearMixture
    """

    def __init__(self, task, *, hard=False):
        recipe, view = task.recipe, task.rows.shared_view
        # What the parts are to the pass: asked here once; the experts are alike.
        self.task, self.expert = task, recipe.experts[0]
        self.form = recipe.gate.linear_form(task.rows.gate_rows)
        self.tree = recipe.gate.tree_for(recipe.n_experts)
        self.penalty = Penalty.of(self.expert)
        weight, columns = read_only(task.rows.weight, float), self.form.columns
        alike = self.expert.standardize == self.form.standardize
        self.expert_design = self._design(weight, view, self.expert.standardize)
        subjects = read_only(task.rows.subjects.weight, float)
        if columns is None:
            self.gate_design = empty_design(len(subjects))
        elif columns is view and alike:
            self.gate_design = self.expert_design
        else:
            self.gate_design = self._design(subjects, columns, self.form.standardize)
        common = {
            "tree": self.tree,
            "gate_penalty": self.form.penalty,
            "by_evidence": ByEvidence(self.form.by_evidence, self.expert.by_evidence),
            "hard": hard,
            "n_jobs": recipe.n_jobs,
        }
        if recipe.common:
            common["common"] = recipe.common
        if task.rows.are_grouped:
            common["subjects"] = task.rows.subjects
        make = self._of_values if task.rows.classes is None else self._of_classes
        self.problem = make(self.gate_design, self.expert_design, weight, common)

    def _design(self, weight, view, standardize):
        return make_design(view, weight, standardize, self.task.rows.scales_of(view))

    def _kind(self, kinds):
        """The problem out of those of few columns, of many, and of subjects."""
        if self.task.rows.are_grouped:
            return kinds[2]
        return kinds[is_wide(self.task)]

    def _of_classes(self, gate, expert, weight, common):
        rows, n_classes = self.task.rows, len(self.task.rows.classes)
        check_range(rows.y, n_classes, "classes")
        offset = np.zeros((0, n_classes)) if rows.log_prior is None else rows.log_prior
        labels = Labels(read_only(rows.y, np.int64), read_only(offset))
        return self._kind(CATEGORICAL)(
            gate,
            expert,
            labels,
            weight,
            n_classes=n_classes,
            expert_penalty=self.penalty,
            **common,
        )

    def _of_values(self, gate, expert, weight, common):
        y, likelihood = self.task.rows.y, self.task.recipe.likelihood
        known = self.task.rows.output_scales
        self.y_center, self.y_scale = target_scales(y, weight, known)
        kinds = COMMON if self.task.recipe.common else GAUSSIAN
        if holds(self.task):
            kinds = FIXED_COMMON if self.task.recipe.common else FIXED
            common |= self._given(expert)
        return self._kind(kinds)(
            gate,
            expert,
            read_only((y - self.y_center) / self.y_scale),
            weight,
            floor=max(likelihood.floor, np.finfo(float).tiny),
            shared_variance=likelihood.variance == "shared",
            expert_penalty=self._in_units_of_y(self.penalty),
            **common,
        )

    def _given(self, design):
        """Coefficients that are given, in standardised units."""
        experts, d = self.task.recipe.experts, len(self.y_scale)
        given = [given_to(own, design, d) for own in experts]
        values = np.stack([own.coef for own in given]) / self.y_scale[:, None]
        return {"at": np.stack([own.at for own in given]), "values": values}

    def _in_units_of_y(self, penalty):
        """A lasso on coefficients of y, for those of the standardised target."""
        if self.expert.standardize or not penalty.lasso:
            return penalty
        if len(self.y_scale) > 1:
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

    def parts(self, theta, problem):
        """Fitted gate, experts and likelihoods of the problem's parameters, or of those
        of what is left of it."""
        parts = problem.unpack(theta)
        gate = self.task.recipe.gate.on(problem.tree)
        if self.form.by_evidence:
            gate.set_penalties(problem.gate_penalty.ridge, problem.gate_spent)
        gate.set_standardised(parts[0], self.gate_design)
        make = self._regressors if self.task.rows.classes is None else self._classifiers
        return gate, *make(parts, problem)

    def _expert(self, problem, place):
        """An expert without coefficients, with its penalty."""
        expert = clone(self.task.recipe.experts[problem.kept[place]])
        expert.common_ = np.asarray(self.task.recipe.common, dtype=int)
        if not expert.by_evidence:
            return expert
        ridge = problem.expert_penalty.ridge[place]
        return expert.set_penalty((ridge, problem.expert_spent[place]))

    def _regressors(self, parts, problem):
        _, coef, log_variance = parts
        n, d = log_variance.shape
        coef = coef.reshape(n, d, -1) * self.y_scale[:, None]
        coef[:, :, -1] += self.y_center
        sigma = np.exp(0.5 * log_variance) * self.y_scale
        experts = [
            self._expert(problem, place).set_standardised(own, self.expert_design)
            for place, own in enumerate(coef)
        ]
        floored = (log_variance <= self.problem.log_floor).any(axis=1)
        likelihoods = [
            self.task.recipe.likelihood.with_sigma(s, n, bool(f))
            for s, f in zip(sigma, floored, strict=True)
        ]
        return experts, likelihoods

    def _classifiers(self, parts, problem):
        n_classes = len(self.task.rows.classes)
        coef = parts[1].reshape(problem.n_experts, n_classes, -1)
        if self.expert.l1_ratio == 0:
            coef = coef - coef.mean(axis=1, keepdims=True)
        experts = []
        for place, own in enumerate(coef):
            expert = self._expert(problem, place)
            expert.classes_ = self.task.rows.classes
            experts.append(expert.set_standardised(own, self.expert_design))
        return experts, [clone(self.task.recipe.likelihood) for _ in experts]

    def going_on(self, problem, fit):
        """The problem with the penalties that evidence chose in an earlier fit."""
        changes = {}
        if self.form.by_evidence:
            ridges = [own.strength for own in fit.gate.nodes()]
            spent = [spent_by(own) for own in fit.gate.nodes()]
            changes = problem.gate_penalties(ridges, spent)
        experts = fit.experts
        if self.expert.by_evidence:
            ridge = np.array([float(own.alpha_) for own in experts])
            old = problem.expert_penalty
            changes["expert_penalty"] = old._replace(ridge=ridge)
            changes["expert_spent"] = np.array([spent_by(own) for own in experts])
        return problem.with_rule(**changes)

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
        coef = self.problem.begun(coef / self.y_scale[:, None])
        sigma = np.array([np.atleast_1d(x.sigma_) for x in likelihoods])
        log_variance = 2 * np.log(sigma / self.y_scale)
        log_variance = np.maximum(log_variance, self.problem.log_floor)
        return self.problem.pack(gate, coef.reshape(-1, coef.shape[2]), log_variance)
