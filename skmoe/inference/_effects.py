"""Mean marginal effects of columns on the prediction of a mixture."""

import numpy as np

from .. import mixture as functions
from .._tables.table import row_weights
from .._warnings import quietly
from ._layout import Term, at, layout_of

# Steps in columns, in their standard deviations, and in parameters, in their errors.
COLUMN_STEP, PARAMETER_STEP = 1e-4, 1e-3


def mean_effects(model, found, X, sample_weight):
    """Standard errors with mean marginal effects added, by the delta method.

    Parameters
    ----------
    model : Unwrapped
    found : StandardErrors
    X : table of shape (n, p)
    sample_weight : array-like of shape (n,) or None

    Returns
    -------
    StandardErrors

    Raises
    ------
    ValueError
        If a column holds no numbers.
    """
    asked = _Effects(model, X, sample_weight)
    effects, outcomes = asked.at(asked.layout.estimate)
    slopes = np.zeros((len(effects), len(asked.layout.terms)))
    for i, step in enumerate(PARAMETER_STEP * np.sqrt(np.diag(found.covariance))):
        move = np.zeros(slopes.shape[1])
        move[i] = step
        above = asked.at(asked.layout.estimate + move)[0]
        below = asked.at(asked.layout.estimate - move)[0]
        slopes[:, i] = (above - below) / (2.0 * step)
    terms = [Term("effect", "", own, n) for own in outcomes for n in asked.names]
    return _joined(found, terms, effects, slopes)


class _Effects:
    """Mean marginal effects on the rows of a table as functions of the parameters."""

    def __init__(self, model, X, sample_weight):
        self.mixture, self.layout = model.mixture, layout_of(model)
        seen = model.seen(X)
        own, table = model.read(X)
        if table.numbers is None:
            raise ValueError(
                "effects=True got a table with columns of text, but expected numbers, "
                "in which a slope can be taken; encode them before the mixture, as in "
                "a pipeline with OneHotEncoder, or use effects=False."
            )
        self.numbers = np.asarray(table.dense(table.numbers), dtype=float)
        weight = row_weights(seen, sample_weight)
        self.weight = weight / weight.sum()
        self.names = [str(name) for name in model.made or model.names(X)]
        self.classes = own.target.classes

    def at(self, theta):
        """Effects by outcome and column, and names of the outcomes."""
        own = at(self.mixture, self.layout, theta)
        found = []
        for j, spread in enumerate(self.numbers.std(axis=0)):
            step = COLUMN_STEP * (spread if spread > 0 else 1.0)
            found.append(self._mean(own, j, step) - self._mean(own, j, -step))
            found[-1] /= 2.0 * step
        effects = np.array(found).T
        return effects.ravel(), self._outcomes(len(effects))

    def _mean(self, own, j, step):
        """Mean prediction (d,) where a column is moved."""
        moved = self.numbers.copy()
        moved[:, j] += step
        # Columns of a frame are as they were; their names were checked before.
        table = quietly(own.views.read, self.mixture, moved, kinds=UserWarning)
        components = own.explained(own.see(table))
        mean = functions.mean(components.weights, components.means())
        return self.weight @ mean

    def _outcomes(self, n):
        if self.classes is not None:
            return [str(own) for own in self.classes]
        return [""] if n == 1 else [f"y{o}" for o in range(n)]


def _joined(found, terms, effects, slopes):
    """Parameters and what follows from them, with a joint covariance."""
    whole = np.vstack([np.eye(len(found.terms)), slopes])
    covariance = whole @ found.covariance @ whole.T
    error = np.sqrt(np.diag(covariance))[len(found.terms) :]
    return found._replace(
        terms=[*found.terms, *terms],
        estimate=np.concatenate([found.estimate, effects]),
        error=np.concatenate([found.error, error]),
        covariance=covariance,
    )
