"""Penalties of curves, and systems in which each coefficient meets its neighbours only.

Penalties (blocks) lie at ``begins : ends`` of the coefficients and are of a kind: steps
between neighbours, levels from their mean, or a ridge.
"""

from ._jit import jit

STEPS, LEVELS, RIDGE = 0, 1, 2


@jit
def add_products(begins, ends, kinds, strengths, coef, out):
    """Add ``P w`` of coefficients (m, q) with penalties (m, blocks) to ``out``."""
    for m in range(coef.shape[0]):
        for k in range(len(kinds)):
            begin, end, strength = begins[k], ends[k], strengths[m, k]
            if kinds[k] == STEPS:
                for i in range(begin, end - 1):
                    step = strength * (coef[m, i + 1] - coef[m, i])
                    out[m, i] -= step
                    out[m, i + 1] += step
                continue
            mean = 0.0
            if kinds[k] == LEVELS:
                mean = coef[m, begin:end].mean()
            for i in range(begin, end):
                out[m, i] += strength * (coef[m, i] - mean)


@jit
def sum_squares(begins, ends, kinds, coef, out):
    """Set ``out`` (m, blocks) to ``w' S w`` of coefficients (m, q)."""
    for m in range(coef.shape[0]):
        for k in range(len(kinds)):
            begin, end, total = begins[k], ends[k], 0.0
            if kinds[k] == STEPS:
                for i in range(begin, end - 1):
                    total += (coef[m, i + 1] - coef[m, i]) ** 2
            else:
                mean = 0.0
                if kinds[k] == LEVELS:
                    mean = coef[m, begin:end].mean()
                for i in range(begin, end):
                    total += (coef[m, i] - mean) ** 2
            out[m, k] = total


@jit
def add_means(first, mass, coef, out):
    """Add the means of curves (m, q), times masses (m,), to ``out``."""
    for m in range(coef.shape[0]):
        for j in range(len(first) - 1):
            begin, end = first[j], first[j + 1]
            if end > begin:
                mean = mass[m] * coef[m, begin:end].mean()
                for i in range(begin, end):
                    out[m, i] += mean


@jit
def add_dense(begins, ends, kinds, strengths, places, gram):
    """Add penalties (blocks,) to a matrix, whose rows ``places`` (q,) says.

    Lower triangles only; minus one is nowhere.
    """
    for k in range(len(kinds)):
        at, n, strength = places[begins[k]], ends[k] - begins[k], strengths[k]
        if at < 0:
            continue
        if kinds[k] == STEPS:
            for i in range(at, at + n - 1):
                gram[i, i] += strength
                gram[i + 1, i + 1] += strength
                gram[i + 1, i] -= strength
            continue
        for i in range(at, at + n):
            gram[i, i] += strength
            if kinds[k] == LEVELS:
                for j in range(at, i + 1):
                    gram[i, j] -= strength / n


@jit
def hold_dense(first, places, mass, gram):
    """Hold curves at mean zero in a matrix, whose rows ``places`` says."""
    for j in range(len(first) - 1):
        n = first[j + 1] - first[j]
        if n == 0 or places[first[j]] < 0:
            continue
        at = places[first[j]]
        for i in range(at, at + n):
            for k in range(at, i + 1):
                gram[i, k] += mass / n


@jit
def traces_dense(begins, ends, kinds, places, covariance, out):
    """Set traces (blocks,) of ``S C`` where ``places`` says that C has the rows.

    Of C an upper triangle is read.
    """
    for k in range(len(kinds)):
        at, n, total = places[begins[k]], ends[k] - begins[k], 0.0
        if at < 0:
            continue
        for i in range(at, at + n):
            inner = kinds[k] == STEPS and at < i < at + n - 1
            total += (2.0 if inner else 1.0) * covariance[i, i]
            if kinds[k] == STEPS and i > at:
                total -= 2.0 * covariance[i - 1, i]
        if kinds[k] == LEVELS:
            whole = 0.0
            for i in range(at, at + n):
                whole += covariance[i, i]
                for j in range(i + 1, at + n):
                    whole += 2.0 * covariance[i, j]
            total -= whole / n
        out[k] = total


@jit
def factor_bands(begins, ends, kinds, strengths, diagonal, above):
    """Penalise bands (m, q), and factorise them as ``L D L'``, in place.

    Afterwards ``diagonal`` is D, and ``above`` what is below the ones of L.  Of levels
    the share of their mean in the penalty is left out.
    """
    for m in range(diagonal.shape[0]):
        for k in range(len(kinds)):
            strength = strengths[m, k]
            for i in range(begins[k], ends[k]):
                inner = kinds[k] == STEPS and begins[k] < i < ends[k] - 1
                diagonal[m, i] += 2.0 * strength if inner else strength
                if kinds[k] == STEPS and i > begins[k]:
                    above[m, i - 1] -= strength
        for i in range(1, diagonal.shape[1]):
            ratio = above[m, i - 1] / diagonal[m, i - 1]
            diagonal[m, i] -= ratio * above[m, i - 1]
            above[m, i - 1] = ratio


@jit
def solve_bands(diagonal, below, right):
    """Solve factorised bands (m, q) for right-hand sides, in place."""
    last = diagonal.shape[1] - 1
    for m in range(diagonal.shape[0]):
        for i in range(1, last + 1):
            right[m, i] -= below[m, i - 1] * right[m, i - 1]
        right[m, last] /= diagonal[m, last]
        for i in range(last - 1, -1, -1):
            right[m, i] = right[m, i] / diagonal[m, i] - below[m, i] * right[m, i + 1]


@jit
def solve_held(first, mass, ones, right):
    """From solutions (m, q) of bands to those of curves held at mean zero, in place.

    ``ones`` are the solutions for ones.
    """
    for m in range(right.shape[0]):
        for j in range(len(first) - 1):
            begin, end = first[j], first[j + 1]
            if end == begin:
                continue
            part = mass[m] / (end - begin)
            total, own = right[m, begin:end].sum(), ones[m, begin:end].sum()
            times = part * total / (1.0 + part * own)
            for i in range(begin, end):
                right[m, i] -= times * ones[m, i]


@jit
def invert_bands(diagonal, below, variances, beside):
    """Set what bands (m, q) have on and beside the diagonal of their inverse."""
    last = diagonal.shape[1] - 1
    for m in range(diagonal.shape[0]):
        variances[m, last], beside[m, last] = 1.0 / diagonal[m, last], 0.0
        for i in range(last - 1, -1, -1):
            beside[m, i] = -below[m, i] * variances[m, i + 1]
            variances[m, i] = 1.0 / diagonal[m, i] - below[m, i] * beside[m, i]


@jit
def hold_inverse(first, mass, ones, variances, beside):
    """From inverses of bands to those of curves held at mean zero, in place."""
    for m in range(variances.shape[0]):
        for j in range(len(first) - 1):
            begin, end = first[j], first[j + 1]
            if end == begin:
                continue
            part = mass[m] / (end - begin)
            times = part / (1.0 + part * ones[m, begin:end].sum())
            for i in range(begin, end):
                variances[m, i] -= times * ones[m, i] ** 2
                if i + 1 < end:
                    beside[m, i] -= times * ones[m, i] * ones[m, i + 1]


@jit
def traces_bands(begins, ends, kinds, variances, beside, totals, out):
    """Set traces (m, blocks) of ``S C``, by what is on and beside the diagonals of C.

    ``totals`` (m, blocks) are the sums of all elements of C, of which levels are told.
    """
    for m in range(variances.shape[0]):
        for k in range(len(kinds)):
            total = 0.0
            for i in range(begins[k], ends[k]):
                inner = kinds[k] == STEPS and begins[k] < i < ends[k] - 1
                total += (2.0 if inner else 1.0) * variances[m, i]
                if kinds[k] == STEPS and i > begins[k]:
                    total -= 2.0 * beside[m, i - 1]
            if kinds[k] == LEVELS:
                total -= totals[m, k] / (ends[k] - begins[k])
            out[m, k] = total
