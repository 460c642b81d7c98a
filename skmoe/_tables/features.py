"""What gate and experts see of X: columns or transformations, fitted once."""

import numpy as np
from scipy import sparse
from sklearn.base import TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import SplineTransformer
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter, validate_data

from .._numerics.bisection import bounded
from .._numerics.design import as_dense, column_units, counting_rows, weighted_moments
from .._stamp import Stamped
from ..exceptions import did_you_mean
from .columns import ContainerError, no_number, passable
from .frames import column_names, is_frame
from .values import is_single

# Digits of a spread that tell values apart, up to so many spreads from the mean.
DECIMALS, SNAPPED = 12, 1e3


class PiecewiseLinear(TransformerMixin, Stamped):
    """Continuous piecewise-linear columns with knots at quantiles.

    The hat functions of a linear spline are summed into ramps, each of which rises
    from 0 to 1 between two knots: the same functions, but a ridge penalty on ramps
    shrinks towards a constant, while on hats it would shrink each knot on its own.
    Outside the data the outer ramps go on linearly.

    Parameters
    ----------
    n_knots : int, default=9
        Knots per column, the extremes included: one ramp less than knots.

    References
    ----------
    .. [1] Gorishniy, Y., Rubachev, I., Babenko, A. (2022). On embeddings for
       numerical features in tabular deep learning. NeurIPS, section 3.2.
    """

    def __init__(self, n_knots=9):
        self.n_knots = n_knots

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(self, X, y=None, sample_weight=None):
        """Find the knots of each column; returns self."""
        X = as_dense(validate_data(self, X, dtype=np.float64, accept_sparse=True))
        weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
        self.unit_ = column_units(X, counting_rows(weight))
        self.center_, self.scale_ = weighted_moments(X / self.unit_, weight)
        # One spline per column: SplineTransformer 1.9 extrapolates linear splines of
        # several columns from the wrong knots (its degree grows with each column).
        spline = SplineTransformer(
            degree=1, n_knots=self.n_knots, knots="quantile", extrapolation="linear"
        )
        columns = self._snapped(X).T[:, :, None]
        self.splines_ = [
            clone(spline).fit(column, sample_weight=sample_weight) for column in columns
        ]
        return self

    def _snapped(self, X):
        """Columns around their means, in units of their spread; zeros without spread.

        What only rounding tells apart is made one, or knots could be as near to each
        other, and a ramp between them as steep, as rounding wills.
        """
        inverse = np.divide(
            1.0, self.scale_, out=np.zeros_like(self.scale_), where=self.scale_ > 0
        )
        with np.errstate(over="ignore"):
            values = bounded((X / self.unit_ - self.center_) * inverse)
        near = np.abs(values) < SNAPPED
        return np.where(near, np.round(np.where(near, values, 0.0), DECIMALS), values)

    def transform(self, X):
        """Ramps of all columns, shape (n, p * (n_knots - 1))."""
        X = validate_data(self, X, dtype=np.float64, accept_sparse=True, reset=False)
        columns = self._snapped(as_dense(X)).T[:, :, None]
        pairs = zip(self.splines_, columns, strict=True)
        hats = np.stack([spline.transform(own) for spline, own in pairs], axis=1)
        sums = np.cumsum(hats[:, :, ::-1], axis=2)[:, :, ::-1]
        return sums[:, :, 1:].reshape(len(hats), -1)


# Kinds of what chooses columns, besides callables.
CHOICES = list, slice, np.ndarray, tuple
PRESETS = {"piecewise-linear": PiecewiseLinear}


def resolve(features, name):
    """Unfitted transformer for a specification.

    Parameters
    ----------
    features : str, transformer, or column selector
        As ``gate_features`` of :class:`skmoe.MoERegressor`.
    name : str
        Parameter to name in errors.
    """
    if isinstance(features, str):
        if features in PRESETS:
            return PRESETS[features]()
        raise ValueError(
            f"{name} got {features!r}, but expected 'piecewise-linear', a transformer "
            f"or a column selector; to select one column pass [{features!r}]"
            + did_you_mean(features, PRESETS)
        )
    if hasattr(features, "transform"):
        return clone(features)
    if is_choice(features):
        columns = list(features) if isinstance(features, tuple) else features
        if isinstance(columns, list) and any(np.ndim(c) for c in columns):
            raise ValueError(
                f"{name} got {features!r}, but expected one list of columns; what "
                "differs between experts is given as {expert's name: columns}."
            )
        return ColumnTransformer(
            [("columns", "passthrough", columns)], verbose_feature_names_out=False
        )
    raise ValueError(
        f"{name} got {features!r}, but expected None, 'piecewise-linear', a "
        "transformer, or a list, slice, mask or callable that selects columns."
    )


def is_choice(features):
    """Whether a specification chooses columns, rather than to transform them."""
    if hasattr(features, "transform"):
        return False
    return callable(features) or isinstance(features, CHOICES)


def same(first, second):
    """Whether two specifications ask for the same columns."""
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return first is second
    return first is second or (type(first) is type(second) and first == second)


def fit_features(transformer, X, y, sample_weight, name):
    """Fit a transformer, with weights where it takes them.

    Raises
    ------
    ValueError
        Naming the parameter ``name``, for a table that the transformer refuses; None
        is for a transformer that the user has not given.
    """
    weighted = sample_weight is not None and has_fit_parameter(
        transformer, "sample_weight"
    )
    arguments = {"sample_weight": sample_weight} if weighted else {}
    try:
        return transformer.fit(as_passed(transformer, X), y, **arguments)
    except (TypeError, ValueError) as error:
        found = no_number(X, str(error)) if np.ndim(X) == 2 else None
        where = "X" if found is None else f"column {found[0]!r} of X"
        said = str(error).rstrip(". ")
        single = found is None or is_single(found[1])
        kind = ValueError if single else ContainerError
        check_names(transformer, X, name)
        if name is None:
            raise kind(f"Training cannot read {where}: {said}.") from error
        raise kind(
            f"{name} got {transformer}, which cannot read {where}: {said}; select "
            "columns that it reads, such as with a ColumnTransformer."
        ) from error


def check_names(transformer, X, name):
    """Raise ``ValueError`` for names of a list that no column has."""
    if type(transformer) is not ColumnTransformer or not is_frame(X):
        return
    each, known = [own for *_, own in transformer.transformers], column_names(X)
    asked = [own for columns in each for own in listed(columns)]
    wrong = [own for own in asked if isinstance(own, str) and own not in known]
    if wrong:
        raise ValueError(
            f"{name} got the column {wrong[0]!r}, but expected one of {known}"
            + did_you_mean(wrong[0], known)
        )


def listed(columns):
    """Columns of a selection by names; none of others."""
    return columns if isinstance(columns, (list, tuple)) else [columns]


def view(transformer, X):
    """The columns that a part sees; float arrays where the data are numbers."""
    if transformer is None:
        return X
    return as_numbers(transformer.transform(as_passed(transformer, X)))


def as_passed(transformer, X):
    """X as a transformer is given it: one that only chooses columns reads any gaps."""
    chooses = type(transformer) is ColumnTransformer and all(
        own == "passthrough" for _, own, _ in transformer.transformers
    )
    return passable(X) if chooses else X


def as_numbers(X):
    """A C-contiguous float array if ``X`` holds finite-dtype numbers, else ``X``."""
    if sparse.issparse(X):
        return X
    array = np.asarray(X)
    if array.dtype.kind not in "fiub":
        return X
    kind = array.dtype if array.dtype in (np.float32, np.float64) else np.float64
    return np.ascontiguousarray(array, dtype=kind)


def allows(part, what):
    """Whether a transformer or estimator declares an input tag such as allow_nan."""
    if what == "allow_nan" and _reads_columns(part):
        return True
    try:
        return bool(getattr(get_tags(part).input_tags, what))
    except (AttributeError, TypeError):
        return False


def _reads_columns(part):
    """Whether X first meets a ColumnTransformer, which leaves gaps to its parts."""
    while part is not None and not isinstance(part, ColumnTransformer):
        if isinstance(part, Pipeline):
            part = part.steps[0][1]
        else:
            part = getattr(part, "estimator", getattr(part, "regressor", None))
    return part is not None
