"""Rows explained: who answers, with what weight, and what each answer is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._estimators.shown import CONSTANT_GATE, counted, kind_name
from .._typing import Table
from ._numbers import without_dust
from ._sentences import Writer
from ._terms import terms_of
from ._unwrap import rows_of, unwrap

WHOLE = "prediction"


class Explanation(dict):
    """What :func:`explain` says of rows, as a dict of arrays, and more than that.

    Parameters
    ----------
    arrays : dict
        What :func:`explain` describes.
    names : list of str
        Of the experts.
    classes : ndarray of shape (n_classes,), or None
        Labels, of a classifier.
    targets : list of str
        Of the outputs, or of the one that has classes.
    shown_names : list of str, default=None
        What the experts are called in sentences, tables and pictures, which tells of
        corrections; ``names`` by default.
    only_stacks : bool, default=False
        Whether the gate says the same of every row.

    Attributes
    ----------
    names, classes, targets, shown_names, only_stacks : as given

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import explain
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    >>> explanation = explain(model, X[:2], X)
    >>> explanation
    Explanation of 2 rows by 2 experts
    >>> explanation.to_text()[0].startswith("expert")
    True
    """

    def __init__(
        self,
        arrays: dict[str, Any],
        names: Sequence[str],
        classes: Any,
        targets: list[str],
        shown_names: Sequence[str] | None = None,
        only_stacks: bool = False,
    ) -> None:
        super().__init__(arrays)
        self.names, self.classes, self.targets = names, classes, targets
        self.shown_names = names if shown_names is None else shown_names
        self.only_stacks = only_stacks

    def __reduce__(self):
        own = self.names, self.classes, self.targets, self.shown_names
        return Explanation, (dict(self), *own, self.only_stacks)

    def __repr__(self):
        rows, experts = self["gate"].shape
        n_rows, n_experts = counted(rows, "row"), counted(experts, "expert")
        note = f"; {CONSTANT_GATE}" if self.only_stacks else ""
        return f"Explanation of {n_rows} by {n_experts}{note}"

    @property
    def has_terms(self) -> bool:
        """Whether anything is told apart by column."""
        return bool(self.get("terms")) or "gate_terms" in self

    def to_text(self, *, n_terms: int = 5, precision: int = 3) -> list[str]:
        """A sentence per row, as :func:`explain_text` returns them."""
        writer = Writer(self, n_terms, precision)
        return [writer.sentence(i) for i in range(len(self["gate"]))]

    def to_frame(self, part: str = "experts") -> Any:
        """All terms in a long table.

        Parameters
        ----------
        part : {"experts", "gate"}, default="experts"

        Returns
        -------
        pandas.DataFrame
            ``row``, counted from 0; ``expert``, as in pictures, its gate ``weight``;
            ``output``, name or label, where there are several; ``term``, with the
            ``cell`` of its column, and ``value``, whose sum is on the ``scale``.  An
            expert without terms has one line, whose term is ``"prediction"``.

        Raises
        ------
        ValueError
            If ``part`` is neither, or the gate has no terms.
        """
        import pandas as pd

        if part not in ("experts", "gate"):
            raise ValueError(
                f"to_frame got part={part!r}, but expected 'experts' or 'gate'."
            )
        if part == "experts":
            pieces = [self._expert(k) for k in range(len(self.names))]
        else:
            terms = self.gate_terms()
            pieces = [
                self._lines(k, terms, terms["value"][:, k, None])
                for k in range(len(self.names))
            ]
        table = pd.concat(map(pd.DataFrame, pieces), ignore_index=True)
        several = part == "experts" and self["prediction"].ndim == 3
        table = table if several else table.drop(columns="output")
        return table.sort_values("row", kind="stable", ignore_index=True)

    def gate_terms(self) -> Any:
        """Terms of the gate.

        Raises
        ------
        ValueError
            If there are none.
        """
        if "gate_terms" in self:
            return self["gate_terms"]
        raise ValueError(without_terms("No part of the gate"))

    def _expert(self, k):
        """Lines of an expert, as a dict of columns."""
        terms, n_rows = self.get("terms", {}).get(self.names[k]), len(self["gate"])
        if terms is None:
            scale = "identity" if self.classes is None else "probability"
            value = self["prediction"][:, k].reshape(n_rows, -1, 1)
            return self._lines(k, None, value, [WHOLE], scale)
        value = terms["value"].reshape(n_rows, -1, len(terms["term"]))
        return self._lines(k, terms, value)

    def _lines(self, k, terms, value, names=None, scale=None):
        n_rows, n_outputs, n_terms = value.shape
        names = terms["term"] if names is None else names
        cells = {} if terms is None else terms.cells
        each = np.full((n_rows, n_outputs, n_terms), None, dtype=object)
        for j, name in enumerate(names):
            if name in cells:
                each[:, :, j] = np.asarray(cells[name], dtype=object)[:, None]
        outputs = self.targets if self.classes is None else self.classes
        at = np.indices(value.shape).reshape(3, -1)
        outputs = list(outputs) if len(outputs) == n_outputs else [None] * n_outputs
        return {
            "row": at[0],
            "expert": self.shown_names[k],
            "weight": self["gate"][at[0], k],
            "output": [outputs[j] for j in at[1]],
            "term": [names[j] for j in at[2]],
            "cell": each.ravel(),
            "value": without_dust(value).ravel(),
            "scale": terms.scale if scale is None else scale,
        }


def without_terms(who):
    """What is said of who has no terms."""
    return (
        f"{who} has terms by column, but expected additive or linear parts; pass "
        "background=X_train, by which explain finds terms of any part."
    )


def _weights_of(model, X, weights):
    """Weights (n, K) of the experts: those of the gate, or given ones."""
    gate = model.gate_proba(X)
    if weights is None:
        return gate
    weights = np.asarray(weights, dtype=float)
    if weights.shape != gate.shape or not np.allclose(weights.sum(axis=1), 1.0):
        raise ValueError(
            f"explain got weights of shape {weights.shape}, but expected {gate.shape}, "
            "one for each row and expert, which sum to one in each row."
        )
    return weights


def explain(
    model: BaseEstimator,
    X: Table,
    background: Table | None = None,
    *,
    weights: ArrayLike | None = None,
    n_draws: int = 32,
    random_state: int | RandomState | None = 0,
) -> Explanation:
    """Who answers for each row, and what each answer is made of.

    Parameters
    ----------
    model : fitted mixture, search or pipeline
    X : array-like or data frame of shape (n, p)
    background : array-like or data frame of shape (m, p), default=None
        Rows to compare with, such as those of training.  Terms of linear parts are then
        around the mean of the rows that an expert serves, rather than around that of
        all rows of training, and parts that are neither additive nor linear have terms,
        too.
    weights : array-like of shape (n, K), default=None
        Weights of the experts in place of those of the gate, such as responsibilities
        of the groups that rows belong to, by what is known of them.
    n_draws : int, default=32
        Rows of the background by which these are found, each with an order of the
        columns and its reverse: the cost is that of ``2 * n_draws * (p + 1)``
        predictions per row.
    random_state : int, RandomState or None, default=0
        Of these draws.

    Returns
    -------
    Explanation
        A dict of ``expert`` (n,) name of the leading expert; ``weight`` (n,) its gate
        weight; ``gate`` (n, K) all gate weights; ``prediction`` (n, K, ...) of each
        expert; ``contribution`` (n, K, ...) gate weight times prediction, whose sum
        over experts is the mixture's prediction (with the noise component, if any,
        which ``predict`` leaves out); ``disagreement`` (n,) gate-weighted spread of the
        experts around the mixture.  Sentences, tables and pictures say of an expert how
        it is corrected, too: ``"linear + trees (40%)"``.

        With additive or linear experts, and of all with a background, also ``terms``:
        for each of these, by name, a dict of ``term``, the names of its columns behind
        ``"level"``, and ``value`` (n, terms), or (n, d, terms) of several outputs and
        of classes.  Their sum is the prediction of the expert, before the link of the
        likelihood, or the softmax of classes; its ``scale`` says which.  With such a
        gate ``gate_terms``, the same with ``value`` (n, K, terms), whose sums are the
        gate's logits; or its weights, found by the background.

        It has methods: ``to_text()`` for sentences, ``to_frame()`` for a table;
        :class:`ExplanationDisplay` draws one row.

    Notes
    -----
    For squared error the disagreement squared is the ambiguity: the error of the
    mixture is the weighted error of its experts less this term (Krogh & Vedelsby
    1995).

    Terms of parts that are neither additive nor linear are Shapley values by sampling
    (Štrumbelj & Kononenko 2014), on the scale of predictions: means over draws, which
    add up exactly but change with ``random_state``.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import explain
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2).fit(X, y)
    >>> parts = explain(model, X[:3])
    >>> bool(abs(parts["contribution"].sum(axis=1) - model.predict(X[:3])).max() < 1e-9)
    True
    >>> parts["terms"]["expert0"]["term"]
    ['level', 'x0', 'x1', 'x2', 'x3', 'x4']
    """
    model, X = unwrap(model), rows_of(X, "explain")
    if background is not None:
        background = rows_of(background, "explain with background")
    only_stacks = weights is None and model.only_stacks
    gate = _weights_of(model, X, weights)
    prediction = model.predict_experts(X)
    weights = gate.reshape(gate.shape + (1,) * (prediction.ndim - 2))
    contribution = weights * prediction
    spread = prediction - contribution.sum(axis=1, keepdims=True)
    axes = tuple(range(1, prediction.ndim))
    best = gate.argmax(axis=1)
    names = list(model.named_experts_)
    terms, gate_terms = terms_of(model, X, background, n_draws, random_state)
    found = {} if not terms else {"terms": terms}
    if gate_terms is not None:
        found["gate_terms"] = gate_terms
    found |= {
        "expert": np.array(names)[best],
        "weight": gate[np.arange(len(gate)), best],
        "gate": gate,
        "prediction": prediction,
        "contribution": contribution,
        "disagreement": np.sqrt(np.sum(weights * spread**2, axis=axes)),
    }
    classes = model.mixture.classes_ if model.is_classifier else None
    outputs = 1 if model.is_classifier or prediction.ndim == 2 else prediction.shape[2]
    targets = [model.target_name(j) for j in range(outputs)]
    own = model.shown_names, only_stacks
    return Explanation(found, names, classes, targets, *own)


def explain_text(
    model: BaseEstimator,
    X: Table,
    background: Table | None = None,
    *,
    n_terms: int = 5,
    precision: int = 3,
) -> list[str]:
    """A sentence per row: who answers for it, why, and of what the answer is made.

    Parameters
    ----------
    model : fitted mixture, search or pipeline
    X : array-like or data frame of shape (n, p)
    background : array-like or data frame of shape (m, p), default=None
        As :func:`explain` takes it; needed where neither gate nor experts are additive
        or linear.
    n_terms : int, default=5
        At most so many are named, the largest first; others are taken together.
    precision : int, default=3
        Digits.

    Returns
    -------
    list of str
        The leading expert, its gate weight and its prediction, or most probable class,
        as a sum of terms, each with the value of its column; behind "chosen for" those
        of the gate, as logits around the mean of all experts; last what the mixture
        answers, where that differs from what its leading expert says.

    Raises
    ------
    ValueError
        If nothing is made of terms, and there is no background.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import explain_text
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor("additive", 2, random_state=0).fit(X, y)
    >>> explain_text(model, X[:1])[0].startswith("expert")
    True
    """
    found = explain(model, X, background)
    if not found.has_terms:
        kinds = {kind_name(own) for own in unwrap(model).named_experts_.values()}
        raise ValueError(
            without_terms(f"None of the experts {', '.join(sorted(kinds))}")
        )
    return found.to_text(n_terms=n_terms, precision=precision)
