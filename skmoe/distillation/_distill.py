"""``distill``: a smaller or cheaper model from a fitted one."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from .._estimators.answers import see
from .._estimators.base import BaseMoE
from .._estimators.parts import has_own_names
from .._sklearn import safe_indexing
from .._tables.table import row_weights
from .._typing import Table
from ..likelihoods import Gaussian
from ..trainers import TwoStage
from ._checks import check_choice
from ._choice import choose_student
from ._lesson import expand_classes
from ._pupils import make_pupils

# Three-point Gauss-Hermite rule: exact for the mean, spread and kurtosis of a normal.
NODES = np.array([-np.sqrt(3.0), 0.0, np.sqrt(3.0)])
NODE_WEIGHTS = np.array([1.0, 4.0, 1.0]) / 6.0
# Weight of the true targets, and that beside answers to made rows.
HARD_SHARE, AUTO_HARD_SHARE = 0.75, 0.25


def distill(
    teacher: BaseEstimator,
    X: Table,
    student: BaseEstimator | str | None = None,
    *,
    n_experts: int | None = None,
    y: ArrayLike | None = None,
    hard_share: float | None = None,
    soft_until: float = 1.0,
    sample_weight: ArrayLike | None = None,
    tolerance: float = 0.02,
    cv: Any = 3,
    n_jobs: int | None = None,
    random_state: int | RandomState | None = None,
    verbose: int = 0,
) -> BaseEstimator:
    """Fit a student to the predictive distribution of a teacher.

    The student maximises its expected log-likelihood under the teacher's distribution
    of y given x: every row is repeated for the classes (classifier) or for three nodes
    of each expert's normal (regressor), with the teacher's probabilities as weights.

    ``student="auto"`` takes any teacher, such as a pool on a raw table, and chooses the
    student: the cheapest to ask among those whose loss on rows held out is within
    ``tolerance`` of the teacher's, else the best.  It needs ``y``.

    Parameters
    ----------
    teacher : fitted MoERegressor or MoEClassifier
        With ``student="auto"`` any fitted regressor, or classifier with
        ``predict_proba``, that can be cloned and fitted again.  A ``FrozenEstimator``
        is taken as fitted on other rows than those of X, and is not.
    X : array-like or data frame of shape (n, p)
        Rows, labelled or not; with ``student="auto"`` those that the teacher was fitted
        to, unless it is frozen.
    student : estimator or "auto", default=None
        Unfitted estimator whose ``fit`` takes ``sample_weight``; by default the teacher
        with ``n_experts`` experts.
    n_experts : int, default=None
        Experts of the default student; by default half of the teacher's.
    y : array-like of shape (n,) or (n, n_outputs), default=None
        True targets of the rows, mixed with the teacher's distribution.
    hard_share : float, default=None
        Weight of the true targets where ``y`` is given; None for 0.75, as in Switch
        transformers, or 0.25 with ``student="auto"``.
    soft_until : float, default=1.0
        Share of the student's epochs, or iterations, after which the teacher's
        distribution is left out and training goes on with ``y`` alone (staged
        distillation): late in training it holds a small student back.  By default it
        stays to the end.
    sample_weight : array-like of shape (n,), default=None
    tolerance : float, default=0.02
        With ``student="auto"``, the share of the teacher's loss by which that of a
        cheaper student may be larger.
    cv : int or splitter, default=3
        With ``student="auto"``, folds of rows held out.  The teacher is fitted again
        for each of them, and all students, which takes several times as long as a fit.
    n_jobs : int, default=None
        With ``student="auto"``, processes that share the folds.
    random_state : int, RandomState or None, default=None
        With ``student="auto"``, seeds folds, rows and students.
    verbose : int, default=0
        With ``student="auto"``, print what each candidate is worth.

    Returns
    -------
    fitted student
        One that was chosen has ``distilled_``, a
        :class:`~skmoe.distillation.Distilled` that prints as what it was chosen for:
        losses on rows held out, of student and teacher, and their prices.

    Raises
    ------
    ValueError
        If ``hard_share`` is not in [0, 1] or ``soft_until`` not in (0, 1], training in
        stages lacks ``y`` or a student that goes on, a student is needed and cannot be
        made, or the teacher is a regressor with other likelihoods than the Gaussian,
        unless the student is to be chosen; that lacks ``y``, or X is sparse.

    Notes
    -----
    Students to choose from: mixtures of six linear experts (``"linear"``) and of three
    additive ones (``"additive"``), which can be read, the average of three networks
    (``"network"``), and 60 or 200 boosted trees (``"small_trees"``, ``"trees"``).

    What a teacher says of rows that it was fitted to is little more than their targets.
    So a student learns the true targets of these, and the teacher's answers to rows
    that are made, eight to a row and at most 8000, each between a row and one of the
    ten next to it.  Answers of a regressor are taught with the errors that teachers
    make on rows held out, so that the spread of a student is honest.

    Losses are those of teachers fitted without the rows held out, and of students who
    have learned from these alone.  Which student is cheapest is measured, and may
    differ between machines; losses do not.

    References
    ----------
    .. [1] Hinton, G., Vinyals, O., Dean, J. (2015). Distilling the knowledge in a
       neural network. arXiv:1503.02531.
    .. [2] Rajbhandari, S. et al. (2022). DeepSpeed-MoE. ICML, section 4.2 (mixture of
       students by staged distillation).
    .. [3] Fedus, W., Zoph, B., Shazeer, N. (2021). Switch transformers. JMLR 23,
       section 4.2 (hard and soft targets).
    .. [4] Bucila, C., Caruana, R., Niculescu-Mizil, A. (2006). Model compression. KDD
       (answers to made rows).

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_gated_regression
    >>> from skmoe.distillation import distill
    >>> X, y = make_gated_regression(500, 3, 4, random_state=0)
    >>> teacher = MoERegressor(n_experts=4, n_members=3, random_state=0).fit(X, y)
    >>> student = distill(teacher, X, n_experts=4)
    >>> bool(student.score(X, teacher.predict(X)) > 0.8)
    True
    """
    check_is_fitted(teacher)
    asked = {"hard_share": hard_share, "soft_until": soft_until, "n_experts": n_experts}
    if isinstance(student, str):
        own = {"student": student, "tolerance": tolerance, "cv": cv}
        check_choice(teacher, X, y, own, asked)
        hard_share = _share(hard_share, AUTO_HARD_SHARE)
        pupils = make_pupils(teacher, X, y, sample_weight, hard_share, random_state)
        return choose_student(pupils, tolerance, cv, n_jobs, verbose)
    hard_share = _share(hard_share, HARD_SHARE)
    student = (
        _default_student(teacher, n_experts) if student is None else clone(student)
    )
    if _has_two_stages(student):
        raise ValueError(
            f"distill got student={student!r}, but every row enters once for each of "
            "its answers, and folds of trainer='two-stage' would part them; use "
            "trainer='em' or 'gradient'."
        )
    _check_stages(student, y, soft_until)
    weight = row_weights(X, sample_weight)
    expand = expand_classes if is_classifier(teacher) else _expand_normals
    rows, targets, weights = expand(teacher, X)
    weights = weights * weight[rows]
    if y is not None:
        y = np.asarray(y)
        rows = np.concatenate([rows, np.arange(len(y))])
        targets = np.concatenate([targets, y])
        weights = np.concatenate([(1 - hard_share) * weights, hard_share * weight])
    kept = weights > 0
    soft = safe_indexing(X, rows[kept]), targets[kept], weights[kept]
    if soft_until == 1:
        return clone(student).fit(*soft[:2], sample_weight=soft[2])
    return _in_stages(student, soft, (X, y, weight), soft_until)


def _share(given, default):
    """The weight of the true targets."""
    share = default if given is None else given
    if not 0 <= share <= 1:
        raise ValueError(
            f"distill got hard_share={share!r}, but expected a number in [0, 1]."
        )
    return share


def _check_stages(student, y, soft_until):
    """Raise ``ValueError`` unless the student can be trained in these stages."""
    if not 0 < soft_until <= 1:
        raise ValueError(
            f"distill got soft_until={soft_until!r}, but expected a number in (0, 1]; "
            "1 keeps the teacher to the end."
        )
    if soft_until == 1:
        return
    if y is None:
        raise ValueError(
            f"distill got soft_until={soft_until!r} without y, with which training is "
            "to go on; give the true targets, or soft_until=1."
        )
    if not isinstance(student, BaseMoE) or student._resolve().trainer.limit is None:
        raise ValueError(
            f"distill got soft_until={soft_until!r} with student={student!r}, which "
            "does not go on from a stage; use a mixture with trainer='em' or "
            "'gradient', or soft_until=1."
        )


def _in_stages(student, soft, hard, soft_until):
    """Fit to the teacher's distribution for some steps, and to the targets after."""
    trainer = student._resolve().trainer
    most = trainer.get_params(deep=False)[trainer.limit]
    first = min(max(1, round(soft_until * most)), most - 1) if most > 1 else 1
    known = {name: vars(student)[name] for name in ("trainer", "warm_start")}
    fitted = clone(student).set_params(warm_start=True)
    for n_steps, (rows, targets, weights) in ((first, soft), (most - first, hard)):
        own = clone(trainer).set_params(**{trainer.limit: max(n_steps, 1)})
        fitted.set_params(trainer=own)
        with warnings.catch_warnings():
            # The first stage ends where it is told to.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted.fit(rows, targets, sample_weight=weights)
    return fitted.set_params(**known)


def _has_two_stages(student):
    if not isinstance(student, BaseMoE):
        return False
    return isinstance(student.trainer, TwoStage) or student.trainer == "two-stage"


def _default_student(teacher, n_experts):
    if n_experts is None:
        n_experts = max(1, teacher.n_experts_ // 2)
    if has_own_names(teacher.experts):
        raise ValueError(
            "distill got a teacher with experts by name and student=None; pass the "
            f"student, such as MoERegressor(n_experts={n_experts})."
        )
    return clone(teacher).set_params(n_experts=n_experts, n_members=1)


def _expand_normals(teacher, X):
    """Rows, targets and weights: the nodes of each expert that serves the row."""
    if not all(isinstance(x, Gaussian) for x in teacher.likelihoods_):
        raise ValueError(
            f"distill got a teacher with {teacher.likelihoods_[-1]!r}, but expected "
            "Gaussian likelihoods, whose moments stand for the density."
        )
    own, seen = see(teacher, X)
    components = own.components(seen)
    gate = components.weights
    means, spreads = components.means(), np.sqrt(components.variances())
    d = means.shape[2]
    rows, experts = np.nonzero(gate)
    # All outputs move together: each keeps its own mean and spread.
    own_mean, own_spread = means[rows, experts], spreads[rows, experts]
    nodes = own_mean[:, None] + NODES[:, None] * own_spread[:, None]
    targets = nodes.reshape(-1, d)
    weights = (gate[rows, experts][:, None] * NODE_WEIGHTS).ravel()
    return np.repeat(rows, 3), own.target.shaped(targets), weights
