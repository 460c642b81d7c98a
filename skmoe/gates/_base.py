"""What a gate must do; the defaults serve gates without special structure."""

import copy
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from .._numerics.linalg import Penalty
from .._numerics.tree import flat
from .._stamp import Stamped
from ..routers._base import SUM_TOLERANCE, routed, stacked

# Rows that are routed at a time, so that the weights of all experts stay in cache.
BLOCK_ROWS = 4096


class LinearForm(NamedTuple):
    """A gate whose log-weights are linear, as the fused EM fits it.

    Attributes
    ----------
    penalty : Penalty
        On standardised coefficients; ``Penalty(ridge, lasso)``.
    standardize : bool
        Whether the penalty refers to standardised columns, or to columns as they are.
    columns : what the gate reads of its view, or None for no columns
    by_evidence : bool
        Whether EM chooses the penalty anew.
    """

    penalty: Penalty
    standardize: bool
    columns: Any
    by_evidence: bool = False


class BaseGate(Stamped):
    """Base of all gates; subclasses give ``fit`` and ``predict_log_proba``.

    A gate is fitted to responsibilities, an (n, K) array of soft targets, and any
    gate that does so serves EM, hard EM and training in two stages.  Everything else
    has a default, which says that the gate cannot do it:

    ``linear_form``, ``set_standardised``, ``coef_``, ``intercept_``
        for a softmax of linear functions: the fused EM then fits it itself.
    ``differentiable``, ``network``, ``set_network``
        for a softmax of a neural network: ``trainer="gradient"`` then trains it.
    ``start_responsibilities``
        for a gate that knows how EM should start.
    ``exchangeable``, ``reordered``
        for a gate whose experts may change places.
    ``reads_segments``, ``text_columns``
        for a gate that reads known segments from a column.
    ``columns_read``
        for a gate that does not read all columns.
    """

    #: Whether the gate reads columns as numbers (and gets a float array).
    numeric = True
    #: Whether training reads sparse columns as they are.
    reads_sparse = False
    #: Whether the gate reads known segments from a column of X as it is.
    reads_segments = False
    #: Whether ``update`` goes on from nothing, too, and changes nothing in place.
    steps = False
    #: Whether it chooses its penalties anew while EM runs: ``renewed``.
    renews = False
    #: The unfitted ``CurveEncoding`` by which it sees the table, if it does;
    #: fitted, it then has ``curves_``, ``level``, ``terms`` and ``link``.
    curves = None
    #: Whether it is a network that a gradient can train: ``network``, ``set_network``.
    differentiable = False
    #: Whether experts may change places: a fit to responsibilities in another order is
    #: the fit in that order.  Where not, as in a frozen gate, EM asks the gate which
    #: group of rows to start in which place.
    exchangeable = False
    #: Whether log-weights are linear in the columns that it sees: ``coef_`` (K, p), of
    #: columns with the spread ``scale_``, and ``intercept_``.
    is_linear = False
    #: Whether it models the columns, so that a fit follows more than its weights.
    generative = False
    #: Whether ``route`` finds other experts than top-k of the log-weights would.
    follows_paths = False
    #: How much weight of rows the penalty outweighs: for a network, its ridge penalty.
    penalty_rows = 0.0
    #: Whether a share of the penalty is a lasso, which only EM fits.
    has_lasso = False
    #: Whether it gains from sums over rows that come in blocks: ``sums``.
    streams = False
    #: Whether it is fitted near to what it was: ``update_near``, ``way_from``.
    stays_near = False
    #: Estimator of another library that it is made of, if it is.
    foreign = None
    #: Free parameters of a fitted gate; None if they have no count.
    n_parameters_ = None

    @property
    def node_gate(self):
        """The gate itself, or that of the nodes of a tree."""
        return self

    def nodes(self):
        """Fitted gates of the nodes, the root first; a flat gate is its own root."""
        return [self]

    def tree_for(self, n_experts):
        """Shape of the tree whose leaves are the experts; here one of one node."""
        return flat(n_experts)

    def on(self, tree):
        """An unfitted gate for another tree of experts; a flat gate serves any."""
        return clone(self)

    def only(self, kept):
        """An unfitted gate for some of the experts, by number."""
        return self

    def reads(self, X):
        """Whether the gate can read a table of text, times or gaps as it is."""
        return not self.numeric

    def allows(self, what):
        """Whether X may have what an input tag names: "allow_nan", "sparse"."""
        return not self.numeric or what == "sparse"

    def text_columns(self, X):
        """Columns of text that are for the gate alone, so that no expert reads them."""
        return []

    def columns_read(self, X):
        """Positions of the columns of its view X that it reads; None for all."""
        return

    def linear_form(self, X):
        """The :class:`LinearForm` of the gate on its view X, None if it has none."""
        return

    def set_standardised(self, coef, design):
        """Set coefficients (K, p + 1) of standardised columns; returns self.

        Asked for where there is a ``linear_form``.
        """
        raise NotImplementedError

    def set_penalties(self, ridge, effective):
        """Set what evidence says, by slot (K,); returns self.

        Asked for where a ``linear_form`` is ``by_evidence``.
        """
        raise NotImplementedError

    def sums(self, X, weight, scales, total):
        """The ``GateSums`` of the gate, which was fitted to a sample of the rows.

        Asked for where it ``streams``.

        Parameters
        ----------
        X, weight : columns (n, p) and weights (n,) of the sample
        scales : means and standard deviations (p,) of the columns of all rows
        total : float, weight of all rows
        """
        raise NotImplementedError

    def network(self, n_inputs, n_outputs):
        """The :class:`~skmoe.gates.Network` whose outputs are the logits.

        Asked for where the gate is ``differentiable``.
        """
        raise NotImplementedError

    def set_network(self, network, theta, design):
        """Set the parameters of a network of standardised columns; returns self."""
        raise NotImplementedError

    def link(self, outputs):
        """Log-weights (n, K) up to a constant per row, and their slope in ``outputs``.

        Of what the network of the gate gives; by default that, as it is.
        """
        return outputs, 1.0

    def unlink(self, log_weights):
        """Outputs of the network at which weights are these."""
        return log_weights

    def start_responsibilities(self, X, n_experts, sample_weight):
        """Responsibilities (n, K) that EM should start from, or None."""
        return

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""

    def fit(self, X, resp, sample_weight=None):
        """Fit to responsibilities ``resp`` (n, K); returns self."""
        raise NotImplementedError

    def update(self, X, resp, sample_weight=None):
        """One M-step from the current state; by default a full ``fit``."""
        return self.fit(X, resp, sample_weight)

    def update_near(self, anchor, pull, X, resp, sample_weight):
        """One M-step under a penalty of the way from a fitted gate; returns self.

        Asked for where the gate ``stays_near``.
        """
        raise NotImplementedError

    def way_from(self, anchor):
        """Squared distance of its parameters from those of another fitted gate."""
        raise NotImplementedError

    def same_kind(self, fitted):
        """Whether a fitted gate can go on with the parameters of this one."""
        return type(self) is type(fitted)

    def going_on(self, fitted):
        """A copy of a fitted gate with the parameters of this one."""
        return copy.deepcopy(fitted).set_params(**self.get_params(deep=False))

    def renewed(self, X, resp, sample_weight):
        """A copy with the penalties by its evidence, and how far they moved.

        Asked for where the gate ``renews``.
        """
        raise NotImplementedError

    def reordered(self, order):
        """A copy with the experts in another order; None where that cannot be."""
        return

    def dropped(self, k):
        """A copy without the expert in position ``k``; None where it must be fitted
        anew."""
        return

    def predict_log_proba(self, X):
        """Logarithms of the expert weights, shape (n, K); rows sum to one."""
        raise NotImplementedError

    def at_rest(self):
        """The gate without what only a next step would need."""
        return self

    def log_joint(self, X):
        """Log-weights as the E-step uses them; unnormalised for generative gates."""
        return self.predict_log_proba(X)

    def scores(self, X):
        """Log-weights up to a constant per row, for routers that only compare them."""
        return self.predict_log_proba(X)

    def route(self, X, router):
        """Routing of rows at prediction."""
        weigh = self.scores if router.plain_top_k else self.predict_log_proba
        if X.shape[0] <= BLOCK_ROWS or not isinstance(X, np.ndarray):
            return routed(router, weigh(X), X=X)
        starts = range(0, len(X), BLOCK_ROWS)
        blocks = (X[start : start + BLOCK_ROWS] for start in starts)
        return stacked([routed(router, weigh(block), X=block) for block in blocks])

    def weights(self, X, router):
        """Weights (n, K) of all experts at prediction, zero for inactive ones."""
        if router.is_dense and X.shape[0] <= BLOCK_ROWS:
            # Their order is nothing to whoever asks all of them.
            weights = np.exp(self.predict_log_proba(X), dtype=np.float64)
            if (np.abs(weights.sum(axis=-1) - 1.0) <= SUM_TOLERANCE).all():
                return weights
        return self.route(X, router).dense()

    def count(self, columns):
        """Free parameters, given the ``Columns`` that the gate was fitted to."""
        return self.n_parameters_

    def penalty(self):
        """Penalty in nats that the last fit paid."""
        return 0.0
