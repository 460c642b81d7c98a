"""The additive gate: a softmax of sums of curves, one per column of a raw table."""

from __future__ import annotations

import copy

import numpy as np

from .._numerics.additive import ROUND_STEPS, Softmax, stepped
from .._numerics.multinomial import log_weights
from .._numerics.systems import ROUGH
from ..experts._curved import CurvedPart, settled
from ..experts._terms import SumOfCurves
from ._base import BaseGate
from ._sums import CurveGateSums


class AdditiveGate(CurvedPart, SumOfCurves, BaseGate):
    """Softmax gate on curves, ``g_k(x) = softmax_k(b_k + sum_j f_kj(x_j))``.

    It reads raw tables as :class:`~skmoe.experts.AdditiveExpert` does, and has a curve
    per expert and column, each with a penalty of its own by evidence: columns by which
    regimes do not differ become flat.  Inside EM it takes one Newton step per
    iteration, which is halved until the likelihood rises.

    Parameters
    ----------
    n_knots : int, default=12
        Knots of a numeric column, at quantiles; all its values if they are fewer.
        Regimes rarely change more often along a column.
    alpha : "evidence" or float, default="evidence"
        Penalty of each curve, in units of rows; ``0`` is maximum likelihood.
    ends : {"held", "linear"}, default="held"
        What a curve does beyond its last knots: stay level, or go on straight.

    Attributes
    ----------
    curves_ : list of Curve
        Of each column, with a row per expert.
    alpha_ : ndarray of shape (K, n_penalties)
    effective_ : ndarray of shape (K, n_penalties)
        Effective degrees of freedom of each.
    n_parameters_ : float
        Effective degrees of freedom.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.gates import AdditiveGate
    >>> X = np.linspace(-1, 1, 100).reshape(-1, 1)
    >>> inside = (np.abs(X[:, 0]) < 0.5) * 0.98 + 0.01
    >>> gate = AdditiveGate().fit(X, np.column_stack([inside, 1 - inside]))
    >>> np.exp(gate.predict_log_proba(np.array([[0.0], [0.9]]))).round(1).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    numeric = False
    link = "softmax"
    exchangeable = steps = renews = streams = True

    def __init__(
        self, n_knots: int = 12, alpha: float | str = "evidence", ends: str = "held"
    ) -> None:
        self.n_knots = n_knots
        self.alpha = alpha
        self.ends = ends

    def allows(self, what):
        return what == "allow_nan"

    def _model(self, X, resp, sample_weight):
        bins = self._bins(X, sample_weight)
        weight = np.ones(bins.shape[0]) if sample_weight is None else sample_weight
        return Softmax(bins, resp * np.reshape(weight, (-1, 1)))

    def _first(self, model):
        coef, strengths = self._begun(None, model.bins, model.targets.shape[1])
        share = np.maximum(model.targets.sum(axis=0), np.finfo(float).tiny)
        coef[:, -1] = np.log(share / share.sum())
        return coef - coef.mean(axis=0), strengths

    @staticmethod
    def _mass(model):
        return model.bins.gather(model.mass)[0]

    def fit(self, X, resp, sample_weight=None):
        """Fit to responsibilities ``resp`` (n, K) until nothing gains; returns self."""
        self.check()
        model = self._model(X, resp, sample_weight)
        return settled(self, model, *self._first(model), self._mass(model))

    def update(self, X, resp, sample_weight=None):
        """One guarded Newton step from the current curves, a few from none."""
        model, fresh = self._model(X, resp, sample_weight), "_coef" not in vars(self)
        encoding = model.bins.encoding
        system = None if fresh else self._known_system(encoding)
        coef, strengths = self._first(model) if fresh else self._on(encoding)
        n_steps = ROUND_STEPS if fresh else 1
        coef, system = stepped(model, coef, strengths, n_steps, system, ROUGH)
        return self._keep(model, coef, strengths, self._mass(model), system)

    def renewed(self, X, resp, sample_weight=None):
        """A copy with the penalties by evidence, and how far they moved."""
        own = copy.copy(self)
        return own, own._learn(own._model(X, resp, sample_weight))

    def sums(self, X, weight, scales, total):
        """By Newton steps of all curves together."""
        return CurveGateSums(self)

    def count(self, columns):
        return 0.0 if len(self._coef) == 1 else self.n_parameters_

    def penalty(self):
        return float(np.sum(self._paid()))

    def reordered(self, order):
        gate = copy.copy(self)
        for name in ("_coef", "alpha_", "_squares", "effective_", "_variances"):
            if name in vars(gate):
                setattr(gate, name, vars(gate)[name][order])
        gate._system = None
        return gate

    def dropped(self, k):
        return self.reordered([j for j in range(len(self._coef)) if j != k])

    def scores(self, X):
        return self._sums(X)

    def predict_log_proba(self, X):
        return log_weights(self.scores(X))
