"""Experts of a fitted mixture in another order."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._estimators.base import BaseMoE
from .._estimators.parts import has_own_names
from ..trainers._order import PER_EXPERT, moved

# Names of orders beside those of columns.
LOAD, INTERCEPT = "load", "intercept"


Mixture = TypeVar("Mixture", bound=BaseMoE)


def relabel(
    model: Mixture, by: str | Callable[[Any], float] | Sequence[int] = "intercept"
) -> Mixture:
    """A fitted mixture with its experts in another order; the same in all else.

    A fit by EM orders interchangeable experts by their load, largest first, so that
    labels do not depend on starts.  Fits to other rows, as of a bootstrap, are
    comparable in an order that means something.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier
        Left as it is.
    by : str, callable or sequence, default="intercept"
        ``"intercept"``, or the name of a column that the experts see: ascending by
        this coefficient of linear experts (of the first output, or the last class).
        ``"load"``: largest first.  A callable gets an expert and returns a number, by
        which they ascend.  A sequence has the present positions in their new order.
        Noise stays last.

    Returns
    -------
    fitted mixture
        A copy, which shares the fitted parts with ``model``.

    Raises
    ------
    ValueError
        For an order that makes no sense, and mixtures whose experts have places: named
        ones, leaves of a tree, members of an average.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.inference import relabel
    >>> X = np.arange(60.0).reshape(-1, 1) % 20
    >>> y = np.where(np.arange(60) < 40, 1.0, -2.0) * X[:, 0] + 3
    >>> model = MoERegressor(n_experts=2, gate="constant", random_state=0).fit(X, y)
    >>> [round(float(e.coef_[0])) for e in relabel(model, by="x0").experts_]
    [-2, 1]
    """
    check_is_fitted(model)
    _check_places(model)
    noise = [own.is_bare for own in model.likelihoods_]
    n = len(noise) - sum(noise)
    order = np.r_[_order(model, by, n), n : len(noise)].astype(int)
    gate = model.gate_.reordered(order)
    if gate is None:
        raise ValueError(
            f"relabel got gate_={model.gate_!r}, in which experts have places; use the "
            "mixture as it is, or a flat gate."
        )
    out = copy.copy(model)
    out.__dict__.update(_reordered(model, order), gate_=gate)
    return out


def _check_places(model):
    """Raise ``ValueError`` where experts are told apart by their places."""
    router = model.router_
    told = {
        f"experts={model.experts!r}": has_own_names(model.experts),
        f"expert_features={model.expert_features!r}": isinstance(
            model.expert_features, dict
        ),
        f"n_members={model.n_members}": model.n_members > 1,
        f"router={router!r}": router.tells_apart or router.learns or not router.gated,
    }
    for what, apart in told.items():
        if apart:
            raise ValueError(
                f"relabel got a mixture with {what}, whose experts are told apart by "
                "their places already; expected copies of one expert under one gate."
            )


def _order(model, by, n):
    """Present positions of the ``n`` experts in their new order."""
    if isinstance(by, str) or callable(by):
        return np.argsort(_values(model, by, n), kind="stable")
    order = np.asarray(by)
    if order.shape != (n,) or not np.array_equal(np.sort(order), np.arange(n)):
        raise ValueError(
            f"relabel got by={by!r}, but expected each of the positions 0 to {n - 1} "
            "once, in their new order."
        )
    return order


def _values(model, by, n):
    """A number for each expert, by which they ascend."""
    if by == LOAD:
        return -np.asarray(model.expert_load_[:n])
    experts = model.experts_[:n]
    if callable(by):
        values = np.array([by(expert) for expert in experts], dtype=float)
    else:
        values = np.array([_coefficient(model, own, by) for own in experts])
    if values.shape != (n,) or np.isnan(values).any():
        raise ValueError(
            f"relabel got by={by!r}, which says {values.tolist()} of the experts, but "
            "expected a number of each."
        )
    return values


def _coefficient(model, expert, by):
    known = vars(expert)
    if "coef_" not in known or "intercept_" not in known:
        raise ValueError(
            f"relabel got by={by!r} for {expert!r}, which has no coefficients; use "
            "'load', a callable, or a list of positions."
        )
    place = 0 if model._learned.target.classes is None else -1
    if by == INTERCEPT:
        return float(np.ravel(expert.intercept_)[place])
    names = _columns(model, np.shape(expert.coef_)[-1])
    if by not in names:
        raise ValueError(
            f"relabel got by={by!r}, but expected 'load', 'intercept', a callable, a "
            f"list of positions, or one of the columns {names}."
        )
    return float(np.atleast_2d(expert.coef_)[place, names.index(by)])


def _columns(model, n_columns):
    """Names of the columns that the experts see."""
    names = vars(model).get("feature_names_in_")
    transformer = model.expert_features_[0]
    if transformer is not None:
        names = transformer.get_feature_names_out(names)
    return [f"x{j}" for j in range(n_columns)] if names is None else list(names)


def _reordered(model, order):
    """Attributes of the experts in another order."""
    learned, history = model._learned, dict(model.history_)
    for name in PER_EXPERT & history.keys():
        history[name] = [moved(own, learned.kept, order) for own in history[name]]
    before = learned.before and tuple([own[k] for k in order] for own in learned.before)
    experts = [model.experts_[k] for k in order]
    return {
        "experts_": experts,
        "named_experts_": dict(zip(model.named_experts_, experts, strict=True)),
        "likelihoods_": [model.likelihoods_[k] for k in order],
        "expert_load_": model.expert_load_[order],
        "history_": history,
        "_learned": learned._replace(before=before, state=None),
    }
