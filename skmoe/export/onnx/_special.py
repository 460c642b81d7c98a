"""Distribution functions that ONNX has no operators for, or none in double precision.

References
----------
.. [1] Hunter, D. B., Regan, T. (1972). A note on the evaluation of the complementary
   error function. Mathematics of Computation 26, 539-541.
"""

import numpy as np
from scipy import special

# Step and number of terms of the midpoint rule, whose error is below rounding.
STEP, N_TERMS = 0.5, 13
# Newton's steps to a normal quantile.
N_STEPS = 5
# Points of a Gauss rule for the density of Student's t.
N_POINTS = 48


def normal_cdf(graph, z):
    """Normal distribution function of a tensor, to rounding in absolute terms.

    By the midpoint rule for the complementary error function [1]_, with the pole that
    the rule passes by taken out.
    """
    return _of_tail(graph, z, _normal_tail(graph, graph.op("Abs", z)))


def _normal_tail(graph, z):
    """Probability beyond a positive tensor, with all digits far out."""
    x = graph.op("Div", z, np.sqrt(2.0))
    x = graph.op("Min", x, np.pi / STEP)
    square = graph.op("Mul", x, x)
    points = (STEP * (np.arange(N_TERMS) + 0.5)) ** 2
    total = None
    for point in points:
        term = graph.op("Div", np.exp(-point), graph.op("Add", square, point))
        total = term if total is None else graph.op("Add", total, term)
    rule = graph.op("Mul", graph.op("Exp", graph.op("Neg", square)), total)
    rule = graph.op("Mul", graph.op("Mul", rule, x), 2.0 * STEP / np.pi)
    pole = graph.op("Exp", graph.op("Mul", x, 2.0 * np.pi / STEP))
    pole = graph.op("Div", 2.0, graph.op("Add", pole, 1.0))
    return graph.op("Mul", graph.op("Add", rule, pole), 0.5)


def normal_quantile(graph, chance):
    """Inverse of the normal distribution function, at a tensor within (0, 1).

    Newton's steps on the logarithm of the tail, from a bound that is beyond it: the
    logarithm is concave, so that they come from one side.
    """
    other = graph.op("Sub", 1.0, chance)
    least = graph.op("Log", graph.op("Min", chance, other))
    far = graph.op("Add", least, np.log(2.0))
    z = graph.op("Sqrt", graph.op("Max", graph.op("Mul", far, -2.0), 0.0))
    for _ in range(N_STEPS):
        tail = _normal_tail(graph, z)
        half = graph.op("Mul", graph.op("Mul", z, z), -0.5)
        density = graph.op("Div", graph.op("Exp", half), np.sqrt(2.0 * np.pi))
        excess = graph.op("Sub", graph.op("Log", tail), least)
        step = graph.op("Mul", excess, graph.op("Div", tail, density))
        z = graph.op("Add", z, step)
    below = graph.op("Less", chance, 0.5)
    return graph.op("Where", below, graph.op("Neg", z), z)


def _of_tail(graph, z, tail):
    below = graph.op("Less", z, 0.0)
    return graph.op("Where", below, tail, graph.op("Sub", 1.0, tail))


def student_cdf(graph, z, df):
    """Distribution function of Student's t, by a Gauss rule in the angle.

    With ``z = sqrt(df) tan(a)`` the density is a power of the cosine.

    Parameters
    ----------
    graph : Graph
    z : tensor (n, d)
    df : ndarray of shape () or (d,)
    """
    angle = _arctan(graph, graph.op("Div", graph.op("Abs", z), np.sqrt(df)))
    nodes, weights = np.polynomial.legendre.leggauss(N_POINTS)
    total = None
    for node, weight in zip(0.5 * (nodes + 1.0), 0.5 * weights, strict=True):
        power = graph.op(
            "Exp", graph.op("Mul", _log_cosine(graph, angle, node), df - 1.0)
        )
        term = graph.op("Mul", power, weight)
        total = term if total is None else graph.op("Add", total, term)
    height = _ratio_of_gammas(0.5 * df) / np.sqrt(np.pi)
    inner = graph.op("Mul", graph.op("Mul", total, angle), height)
    tail = graph.op("Max", graph.op("Sub", 0.5, inner), 0.0)
    return _of_tail(graph, z, tail)


def _ratio_of_gammas(x):
    """``gamma(x + 1/2) / gamma(x)``; its series keeps digits that large ones lose."""
    inverse = 1.0 / x
    series = 1.0 + inverse * (
        -1.0 / 8
        + inverse * (1.0 / 128 + inverse * (5.0 / 1024 - inverse * 21.0 / 32768))
    )
    near = np.minimum(x, 100.0)
    exact = np.exp(special.gammaln(near + 0.5) - special.gammaln(near))
    return np.where(x > 100.0, np.sqrt(x) * series, exact)


def _log_cosine(graph, angle, share):
    """Logarithm of the cosine of a share of an angle, with all digits near zero."""
    sine = graph.op("Sin", graph.op("Mul", angle, share))
    lost = graph.op("Neg", graph.op("Mul", sine, sine))
    # The rounding of the sum is the same above and below (W. Kahan).
    one = graph.op("Add", lost, 1.0)
    rounded = graph.op("Sub", one, 1.0)
    exact = graph.op("Equal", rounded, 0.0)
    ratio = graph.op(
        "Div", graph.op("Log", one), graph.op("Where", exact, 1.0, rounded)
    )
    log = graph.op("Mul", lost, graph.op("Where", exact, 1.0, ratio))
    return graph.op("Mul", log, 0.5)


def _arctan(graph, x):
    """Arc tangent: that of single precision, and what it lacks."""
    rough = graph.op("Atan", graph.cast(graph.op("Min", x, 1e30), np.float32))
    rough = graph.op("Min", graph.double(rough), np.pi / 2 - 1e-9)
    sine, cosine = graph.op("Sin", rough), graph.cosine(rough)
    above = graph.op("Sub", graph.op("Mul", x, cosine), sine)
    below = graph.op("Add", graph.op("Mul", x, sine), cosine)
    left = graph.op("Div", above, below)
    cube = graph.op("Mul", left, graph.op("Mul", left, left))
    left = graph.op("Sub", left, graph.op("Div", cube, 3.0))
    return graph.op("Add", rough, left)
