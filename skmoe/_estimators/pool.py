"""Experts of different kinds for raw tables: what ``experts="auto"`` stands for."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from sklearn.base import clone, is_classifier

from .._tables.columns import text_positions
from ..exceptions import did_you_mean
from ..experts._encoding import numeric_encoding
from ..trainers._two_stage.looks import PoolTerms
from .pool_members import MEMBERS, OPTIONAL, USUAL
from .presets import Pool, PoolMember

# CPU time of a fit in units of boosted trees, median of eleven tables of 2000 rows,
# and a fifth of it for what any member adds to the time of a row.
PRICES = {
    "linear": 0.2,
    "boosting": 1.0,
    "forest": 0.5,
    "neighbours": 0.3,
    "network": 1.5,
    "smooth_network": 1.7,
    "additive": 1.5,
    "mixture": 2.0,
}
# Networks differ from fit to fit: those that stay after a first look are averages.
FINALS = dict.fromkeys(("network", "smooth_network"), {"network__n_members": 3})
# Members that no budget leaves out.
ALWAYS = ("linear", "boosting")
# Rows, and rows per column, below which a member is left out.
FEWEST_ROWS = {
    "boosting": 50,
    "neighbours": 125,
    "network": 50,
    "smooth_network": 50,
    "additive": 100,
    "mixture": 100,
    **dict.fromkeys(OPTIONAL, 50),
}
FEWEST_PER_COLUMN = {"mixture": 50}
FEWEST_CLASSES = {
    "linear": 2,
    "boosting": 2,
    "additive": 2,
    **dict.fromkeys(OPTIONAL, 2),
}
MOST_ROWS = {"neighbours": 200_000}
MOST_COLUMNS = {"mixture": 300, "neighbours": 300, "additive": 150}


class AutoPool(Pool):
    """Experts of different kinds, each in the pipeline that a raw table needs.

    What ``experts="auto"`` stands for; made for ``trainer="two-stage"``, which keeps
    those members that earn their cost: all look at one fold of the rows (at most 5000);
    those without which the best blend would err hardly more, given what they cost, are
    left out.  Categories (columns that are no numbers) and missing values may stay in
    the table.

    ==============  =====================================================
    member          estimator
    ==============  =====================================================
    linear          ridge with its penalty by cross-validation; logistic
    boosting        histogram-based boosted trees on raw categories, stopped
                    where the first fold says
    forest          60 extremely randomised trees, kept as arrays
    neighbours      ten nearest neighbours on columns made normal
    network         average of three perceptrons with two hidden layers
    smooth_network  the same, with a stronger penalty
    additive        mixture of two additive experts; of classes a single one
    mixture         mixture of linear experts; by name only
    catboost        boosted trees of these packages with their own
    lightgbm        settings and categories; by name only, so that results
    xgboost         do not depend on what is installed
    ==============  =====================================================

    Parameters
    ----------
    include : list of str, default=None
        Members to consider; None for all that need not be asked for by name.
    max_time : float, default=None
        CPU seconds that ``fit`` may take, over all cores.  Members come in the order of
        their price, as long as there is time; then folds.  Results then depend on the
        machine.
    max_memory : float, default=None
        Megabytes that the fitted experts may take as a pickle.
    max_latency : float, default=None
        CPU milliseconds that the experts may take for a row that is asked by itself.

    Notes
    -----
    ``linear`` and ``boosting`` stay whatever the budgets are; a warning names what had
    to go, and budgets that are not kept all the same.  Where memory or the time of a
    row are bounded, members are not corrected by trees.

    Budgets are those of each member of an average (``n_members``).  Trees stop early,
    networks are averages and members are left out under ``trainer="two-stage"`` only.

    Only ratios of ``sample_weight`` count; neighbours, which take no weights, are
    fitted to rows drawn in proportion to them.  Members keep their warnings back:
    whether one has converged shows in the loss of its predictions.

    A fitted mixture lists all members in ``expert_pool_``, with the reason for those
    that it left out: too few rows (boosting and networks need 50, neighbours 125,
    mixtures 100, linear ones 50 per column), too many rows (neighbours: 200 000) or
    columns (neighbours and mixture: 300, additive: 150), a single class, a budget, or
    that they add nothing to the others.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.experts import AutoPool
    >>> X, y = make_regimes(200, random_state=0)
    >>> pool = AutoPool(include=["linear", "neighbours"])
    >>> model = MoERegressor(pool, trainer="two-stage", random_state=0).fit(X, y)
    >>> [member.name for member in model.expert_pool_]
    ['linear', 'neighbours']
    """

    def __init__(
        self,
        include: Sequence[str] | None = None,
        max_time: float | None = None,
        max_memory: float | None = None,
        max_latency: float | None = None,
    ) -> None:
        self.include = include
        self.max_time = max_time
        self.max_memory = max_memory
        self.max_latency = max_latency

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        known, include = [*MEMBERS], self.include
        listed = isinstance(include, (list, tuple, set)) and set(include) <= {*known}
        if include is not None and not (listed and include):
            raise ValueError(
                f"AutoPool got include={self.include!r}, but expected None or some of "
                f"{known}" + _meant(include, known)
            )
        for name in OPTIONAL:
            if name in (include or ()) and find_spec(name) is None:
                raise ValueError(
                    f"AutoPool got include={self.include!r}, but the package {name!r} "
                    f'is not installed; install it by pip install "{name}", or leave '
                    "it out."
                )
        units = {"max_time": "seconds", "max_memory": "MB", "max_latency": "ms"}
        for name, unit in units.items():
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, numbers.Real) or not 0 < value < np.inf:
                raise ValueError(
                    f"AutoPool got {name}={value!r}, but expected None or {unit} > 0."
                )

    def encoding(self):
        """Unfitted transformer from raw columns to numbers, for the gate."""
        return numeric_encoding()

    def members(self, classify):
        """Names and unfitted estimators, of classifiers or of regressors."""
        include = USUAL if self.include is None else self.include
        names = [name for name in MEMBERS if name in include]
        return names, [MEMBERS[name](classify) for name in names]

    def terms(self):
        """What members cost, and may cost together."""
        budgets = self.max_time, self.max_memory, self.max_latency
        return PoolTerms(PRICES, FINALS, ALWAYS, *budgets)

    def screen(self, names, experts, X, y, apart=()):
        """All members, with the reasons of those that do not suit the table.

        Parameters
        ----------
        names : list of str
        experts : list of unfitted estimators
        X : table of shape (n, p)
        y : (n,) or (n, n_outputs)
        apart : container of str, default=()
            Members that see other columns than those of X, whose places say nothing
            to them.

        Returns
        -------
        list of PoolMember

        Raises
        ------
        ValueError
            If nobody is left.
        """
        n_classes = len(np.unique(y)) if is_classifier(experts[0]) else None
        text = text_positions(X)
        reasons = {name: _misfit(name, *X.shape, n_classes) for name in names}
        if all(reasons.values()):
            why = "; ".join(f"{name} {reason}" for name, reason in reasons.items())
            raise ValueError(
                f"AutoPool got X with n_samples={X.shape[0]} and n_features="
                f"{X.shape[1]}, for which none of its members is made ({why}); include "
                "more of them."
            )
        return [
            PoolMember(
                name,
                expert if name in apart else _with_text(expert, text),
                reasons[name],
            )
            for name, expert in zip(names, experts, strict=True)
        ]


def _meant(include, known):
    """The end of a sentence about members: what a mistyped one may have meant."""
    listed = isinstance(include, (list, tuple, set))
    wrong = [name for name in (include if listed else ()) if name not in known]
    return did_you_mean(wrong[0], known) if wrong else "."


def _with_text(expert, text):
    """The expert, which reads columns at these positions as text, whatever its rows."""
    keys = [key for key in expert.get_params() if key.split("__")[-1] == "text"]
    return clone(expert).set_params(**dict.fromkeys(keys, text))


def _misfit(name, n_rows, n_columns, n_classes=None):
    """Why a member does not suit a table of some size and classes, or None."""
    if n_classes is not None and n_classes < FEWEST_CLASSES.get(name, 0):
        return f"needs at least {FEWEST_CLASSES[name]} classes"
    if n_rows < FEWEST_ROWS.get(name, 0):
        return f"needs at least {FEWEST_ROWS[name]} rows"
    if n_rows < FEWEST_PER_COLUMN.get(name, 0) * n_columns:
        return f"needs at least {FEWEST_PER_COLUMN[name]} rows per column"
    if n_rows > MOST_ROWS.get(name, np.inf):
        return f"is too slow beyond {MOST_ROWS[name]} rows"
    if n_columns > MOST_COLUMNS.get(name, np.inf):
        return f"suits at most {MOST_COLUMNS[name]} columns"
    return None
