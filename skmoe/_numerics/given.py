"""Regressions of which some coefficients are given, and not fitted.

What they explain is known, as an offset is: normal equations of the others follow from
those of all, without another look at the rows.
"""

import numpy as np

from .products import linear


class Given:
    """Standardised coefficients that are given, beside others that are fitted.

    Parameters
    ----------
    at : (..., q) bool
        Which they are; never the last, which is the intercept.
    coef : (..., q)
        Zero where they are fitted.
    """

    def __init__(self, at, coef):
        self.at, self.coef, self.some = at, coef, bool(np.any(at))

    @property
    def columns(self):
        """Which columns (..., q - 1) have them."""
        return self.at[..., :-1]

    def put(self, coef):
        """Coefficients with those that are given in their places."""
        return np.where(self.at, self.coef, coef) if self.some else coef

    def taken(self, coef):
        """Coefficients with zeros for those that are given."""
        return np.where(self.at, 0.0, coef) if self.some else coef

    def left(self, grams, right):
        """Normal equations (..., q, q) and (..., q) of those that are fitted.

        Columns of the others are zero in them, and get no coefficient.
        """
        if not self.some:
            return grams, right
        known = np.einsum("...ij,...j->...i", grams, self.coef)
        either = self.at[..., :, None] | self.at[..., None, :]
        return np.where(either, 0.0, grams), np.where(self.at, 0.0, right - known)

    def squares(self, grams, right, square):
        """What is left to explain of squares (...) of the targets."""
        known = np.einsum("...ij,...j->...i", grams, self.coef)
        return square - np.einsum("...i,...i->...", self.coef, 2.0 * right - known)

    def design(self, design):
        """Columns without those whose coefficients are given; of one regression."""
        if not self.some:
            return design
        inverse = np.where(self.columns, 0.0, design.inverse_scale)
        return design._replace(inverse_scale=inverse)

    def share(self, design):
        """What they explain of each row: (n, m)."""
        return linear(design, self.coef) if self.some else 0.0
