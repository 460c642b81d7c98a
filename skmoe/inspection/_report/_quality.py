"""Sections on where a mixture errs, and on how far its probabilities can be trusted."""

import numpy as np

from .._classes import binned
from .._numbers import number
from ._parts import Pictures, Section, Table, Words
from ._pictures import Heights, Reliability
from ._regimes import MOST_LISTED
from ._svg import percent

COVERAGES = (0.5, 0.9)
N_HEIGHTS = 10
# Outputs and classes that are drawn.
MOST_DRAWN = 6
NO_TARGET = "Without y nothing can be said of errors and calibration."
OPTIMISTIC = (
    "These are the rows that were given: where the mixture was fitted to them, errors "
    "are smaller and intervals look better than they will be on new rows."
)


def quality_section(given):
    """Errors by regime, and calibration."""
    title = "Where it errs, and how well it is calibrated"
    if given.rows.y is None:
        return Section(title, [Words(NO_TARGET)])
    parts = _classes(given) if given.own.is_classifier else _values(given)
    return Section(title, [Words(OPTIMISTIC), *parts])


def _groups(given):
    """The rows of all, and of each expert that leads some, with their weights."""
    found = [(None, "all rows", given.weight)]
    for k in given.keys.order[:MOST_LISTED]:
        own = given.weight * (given.leader == k)
        if own.sum() > 0:
            found.append((k, given.keys.names[k], own))
    return found


def _by_regime(given, header, columns):
    """A table of weighted means of columns (n,), by leading expert."""
    rows, experts = [], []
    for k, name, weight in _groups(given):
        share = weight.sum()
        means = [shape(weight @ own / share) for own, shape in columns]
        rows.append([name, percent(share), *means])
        experts.append(k)
    return Table(["leading expert", "rows", *header], rows, experts, 1)


def _root(value):
    return number(np.sqrt(value))


# -- numbers ---------------------------------------------------------------------


def _values(given):
    error = given.target - given.prediction
    inside = [_covered(given, own) for own in COVERAGES]
    header = ["root mean squared error", "mean error", "mean absolute error"]
    header += [f"{percent(own)} interval holds" for own in COVERAGES]
    columns = [
        ((error**2).mean(axis=1), _root),
        (error.mean(axis=1), number),
        (np.abs(error).mean(axis=1), number),
        *((own, percent) for own in inside),
        (given.log_density, number),
    ]
    header.append("log-density")
    pictures = _heights(given)
    return [
        _by_regime(given, header, columns),
        Words(
            "Errors are y less the prediction of the whole mixture, in units of y, by "
            "the expert with the largest gate weight, before y is known. Intervals are "
            "central "
            "ones of the predictive density, which should hold the share of rows that "
            "they are named after."
        ),
        Pictures(
            pictures,
            "Where y falls within its predictive density: level bars if the densities "
            "are right, high ends if they are too narrow, a hill if too wide, a slope "
            "if they lie to one side. Within the grey band chance alone explains a "
            "bar.",
            legend=False,
        ),
    ]


def _covered(given, coverage):
    """Share (n,) of outputs within their interval."""
    ends = given.model.predict_interval(given.table, coverage, **given.rows.sizes)
    ends = ends.reshape(len(ends), -1, 2)
    y = given.target
    return np.mean((ends[..., 0] <= y) & (y <= ends[..., 1]), axis=1)


def _heights(given):
    own, seen = given.parts
    components = own.components(seen)
    high = own.cdf(given.target, components)
    low = own.cdf(given.target - 1.0, components) if components.discrete else high
    effective = 1.0 / np.sum(given.weight**2)
    margin = 1.96 * np.sqrt((N_HEIGHTS - 1) / effective)
    return [
        Heights(name, heights(low[:, j], high[:, j], given.weight), float(margin))
        for j, name in enumerate(given.outputs[:MOST_DRAWN])
    ]


def heights(low, high, weight, n_bins=N_HEIGHTS):
    """Histogram of probability integral transforms, one where all is well.

    Parameters
    ----------
    low, high : (n,) ndarrays
        Distribution function just below y, and at y: the same for what has a density.
        In between the mass of a count is spread evenly.
    weight : (n,) ndarray that sums to one
    n_bins : int

    Returns
    -------
    (n_bins,) ndarray

    References
    ----------
    .. [1] Czado, C., Gneiting, T. & Held, L. (2009). Predictive model assessment for
       count data. Biometrics 65.
    """
    edges = np.linspace(0.0, 1.0, n_bins + 1)[1:-1, None]
    width = high - low
    part = np.divide(
        edges - low, width, out=np.zeros(edges.shape[:1] + low.shape), where=width > 0
    )
    below = np.where(width > 0, np.clip(part, 0.0, 1.0), high < edges)
    total = np.concatenate([[0.0], below @ weight, [weight.sum()]])
    return n_bins * np.diff(total)


# -- classes ---------------------------------------------------------------------


def _classes(given):
    y, proba = given.target, given.prediction
    best = proba.argmax(axis=1)
    header = ["right", "largest probability", "log-loss"]
    columns = [
        ((best == y).astype(float), percent),
        (proba[np.arange(len(best)), best], percent),
        (-given.log_density, number),
    ]
    labels = given.model.classes_
    if len(labels) == 2:
        header += [f"said {labels[1]}", f"were {labels[1]}"]
        columns += [(proba[:, 1], percent), ((y == 1).astype(float), percent)]
    count = np.bincount(y, given.weight, len(labels))
    shown = [1] if len(labels) == 2 else np.argsort(-count, kind="stable")[:MOST_DRAWN]
    pictures = [
        reliability(f"{labels[c]}", proba[:, c], y == c, given.weight) for c in shown
    ]
    note = (
        "Rows by the probability that was said for a class, and how often it came: on "
        "the dashed line they agree, below it the mixture is too sure. Dots grow with "
        "their rows."
    )
    return [
        _by_regime(given, header, columns),
        Words(
            "A mixture is too sure where its largest probability is above the share "
            "that is right."
        ),
        Pictures(pictures, note, legend=False),
        _errors_of_bins(pictures),
    ]


def reliability(title, said, came, weight):
    """``Reliability`` of the probabilities (n,) of a class that came, or did not."""
    own = binned(said, came, weight)
    return Reliability(title, own["said"], own["came"], own["mass"], own["error"])


def _errors_of_bins(pictures):
    rows = [[own.title, number(own.error)] for own in pictures]
    return Table(["class", "mean calibration error"], rows)


# -- one line --------------------------------------------------------------------


def scores(own, table, rows):
    """Names and numbers that sum a mixture up on some rows with y.

    Parameters
    ----------
    own : fitted mixture
    table : rows as it sees them
    rows : Rows

    Returns
    -------
    dict of float by name
    """
    weight = rows.weight
    density = own.log_density(table, rows.y, **rows.sizes)
    found = {"log-density per row": float(np.average(density, weights=weight))}
    score = own.score(table, rows.y, sample_weight=weight, **rows.sizes)
    if own._learned.target.classes is not None:
        return {"accuracy": score} | found
    error = np.asarray(rows.y, dtype=float) - own.predict(table, **rows.sizes)
    error = (error**2).reshape(len(error), -1).mean(axis=1)
    root = float(np.sqrt(np.average(error, weights=weight)))
    return {"R²": score, "root mean squared error": root} | found
