"""Coordinate descent of a quadratic with absolute values."""

import numpy as np

from ._jit import jit


@jit
def coordinate_descent(hessian, right, lasso, coef, max_sweeps, tol):
    """Minimise ``c' H c / 2 - r' c + sum_j l_j |c_j|`` over c, from ``coef``, in place.

    Stops when no coefficient moves by more than ``tol`` of the largest, both in units
    of the square root of their curvature; returns the number of sweeps.
    """
    gradient = np.dot(hessian, coef) - right
    for sweep in range(max_sweeps):
        moved, largest = 0.0, 0.0
        for j in range(coef.size):
            curvature = hessian[j, j]
            if curvature <= 0.0:
                continue
            pull = curvature * coef[j] - gradient[j]
            new = np.sign(pull) * max(abs(pull) - lasso[j], 0.0) / curvature
            step = new - coef[j]
            if step != 0.0:
                coef[j] = new
                for i in range(coef.size):
                    gradient[i] += step * hessian[i, j]
            root = np.sqrt(curvature)
            moved = max(moved, abs(step) * root)
            largest = max(largest, abs(new) * root)
        if moved <= tol * largest:
            return sweep + 1
    return max_sweeps
