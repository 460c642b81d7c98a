"""Systems of several regressions that have some of their coefficients in common."""

import numpy as np

from .linalg import SINGULAR, solve_centred, solve_symmetric


def solve_arrow(grams, right, ridge, common, flat):
    """Solve penalised least squares of K regressions with common coefficients.

    The matrix of all coefficients is block diagonal but for the common ones, like the
    head of an arrow: those that vary are eliminated one regression at a time, and what
    is left is a system as large as there are common ones.

    Parameters
    ----------
    grams : (K, d, q, q)
        Curvatures by regression and output; the last channel is the intercept, which
        varies and is not penalised.
    right : (K, d, q)
    ridge : (K, d)
        Penalty of the slopes that vary; common ones pay none.
    common : (c,) int
        Channels whose coefficients are common.
    flat : (K, q - 1)
        Columns without spread in the rows of a regression.

    Returns
    -------
    (K, d, q)
    """
    n, d, q = right.shape
    varies, c = np.delete(np.arange(q), common), len(common)
    matrices, right = grams.reshape(n * d, q, q), right.reshape(n * d, q)
    mixed = matrices[:, varies][:, :, common]
    flat = np.repeat(flat[:, varies[:-1]], d, axis=0)
    known = np.concatenate([right[:, varies, None], mixed], axis=2)
    own = matrices[:, varies][:, :, varies]
    solved = solve_centred(own, known, ridge.reshape(-1), flat)
    through = np.einsum("mvc,mvt->mct", mixed, solved)
    head = matrices[:, common][:, :, common]
    left = (head - through[:, :, 1:]).reshape(n, d, c, c).sum(axis=0)
    rest = (right[:, common] - through[:, :, 0]).reshape(n, d, c).sum(axis=0)
    whole = np.einsum("mcc->mc", head).reshape(n, d, c).sum(axis=0)
    shared = _solve_head(left, rest, whole, q)
    out = np.empty((n, d, q))
    out[:, :, common] = shared
    moved = solved[:, :, 1:] @ np.tile(shared, (n, 1))[:, :, None]
    out[:, :, varies] = (solved[:, :, 0] - moved[:, :, 0]).reshape(n, d, -1)
    return out


def _solve_head(left, rest, whole, q):
    """Common coefficients (d, c); zero where those that vary leave nothing to tell."""
    told = np.einsum("dcc->dc", left) > SINGULAR * (q + 1) * whole
    left = np.where(told[:, :, None] & told[:, None, :], left, 0.0)
    return solve_symmetric(left, np.where(told, rest, 0.0)[:, :, None])[:, :, 0]
