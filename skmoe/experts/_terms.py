"""What additive experts and gates say of how their answers are made up."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._numerics.curves import Places


class SumOfCurves:
    """Terms of a fitted part, whose sum is what it predicts before its link.

    Attributes
    ----------
    link : str
        What makes predictions of sums: a link of likelihoods, or ``"softmax"``.
    """

    @property
    def level(self):
        """What stands where all curves have their mean, (n_sets,), before the link."""
        check_is_fitted(self, "_coef")
        return self._coef[:, -1] + self._means().sum(axis=1)

    def terms(self, X):
        """What the curve of each column adds to the level, (n, n_sets, p).

        With ``level`` they sum to the prediction before the link, ``X`` as in
        ``predict``.
        """
        level, rows = self.level, self._rows(X)
        alone = self._coef.copy()
        alone[:, -1] = 0.0
        out = np.empty((rows.shape[0], len(level), rows.shape[1]))
        for j, (slots, share) in enumerate(zip(rows.slots, rows.share, strict=True)):
            own = Places(rows.encoding, slots[None], share[None])
            out[:, :, j] = own.linear(alone)
        return out - self._means()
