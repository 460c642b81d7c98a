"""The kinds of tables that users bring, told apart here and nowhere else.

A table is a pandas or polars data frame, an array, or a sparse matrix.  Neither library
of frames is imported unless the user has brought one.  Collections of Dask are told
apart to be refused where rows are read at once.
"""

import numpy as np
from scipy import sparse


def is_frame(X):
    """Whether X is a pandas or polars data frame."""
    return hasattr(X, "columns") and hasattr(X, "shape")


def is_collection(X):
    """Whether X is a collection of Dask, whose rows are not at hand."""
    return type(X).__module__.split(".")[0] in ("dask", "dask_expr")


def refuse_unread(X, owner):
    """Raise ``ValueError`` for what stands for rows that are not at hand."""
    if type(X).__name__ == "LazyFrame":
        raise ValueError("X is a LazyFrame, whose rows are not read; give X.collect().")
    if is_collection(X):
        raise ValueError(
            f"{owner} got X as a Dask collection, which it would load into one "
            "process; use DaskMoERegressor or DaskMoEClassifier of skmoe.distributed "
            "for fit, predict, predict_proba, log_density, responsibilities and "
            "gate_proba, or give X.compute()."
        )


def refuse_name(name, value, what):
    """Raise ``ValueError`` for a word where there should be a value for each row.

    ``what`` is said of each value.
    """
    if isinstance(value, (str, bytes)):
        raise ValueError(
            f"{name}={value!r} is a word, but expected {what} for each row of X; if it "
            f"names a column, give its values: {name}=X[{value!r}]."
        )


def refuse_flat(X, owner):
    """Raise ``ValueError`` for rows, columns or words in place of a table."""
    if isinstance(X, (str, bytes)):
        raise ValueError(
            f"{owner} got X={X!r}, but expected the table itself, such as "
            "pandas.read_csv or pandas.read_parquet returns it."
        )
    shape = X.shape if hasattr(X, "shape") else None
    if isinstance(X, (list, tuple)) and len(X) and np.ndim(X[0]) == 0:
        shape = (len(X),)
    if shape is not None and len(shape) == 1:
        raise ValueError(
            f"{owner} got X with the values of one row or column {shape}, but expected "
            "a table (2D): rows and columns. Reshape your data: give one row as "
            "X.iloc[[0]] or X[[0]], one column as X[['name']] or X[:, [0]], and in fit "
            "X before y."
        )


def is_polars(X):
    """Whether X is a polars data frame."""
    return hasattr(X, "with_columns")


def as_table(X):
    """A frame or array as it is; lists as an array that keeps text beside numbers."""
    return from_arrow(X) if hasattr(X, "shape") else np.asarray(X, dtype=object)


def from_arrow(values):
    """A table or array of pyarrow as pandas has it, anything else as it is."""
    is_arrow = type(values).__module__.startswith("pyarrow.")
    return values.to_pandas() if is_arrow else values


def dtype_of(values):
    """Type of a column or array, that of objects where it says none."""
    return getattr(values, "dtype", np.dtype(object))


def is_polars_type(dtype):
    """Whether a type is that of a polars column."""
    return hasattr(dtype, "is_numeric")


def kind_of(dtype):
    """Kind of a type as NumPy has it: "f" for all numbers, "O" for what it has not."""
    if is_polars_type(dtype):
        numbers = dtype.is_numeric() or str(dtype) == "Boolean"
        return "f" if numbers else "M" if dtype.is_temporal() else "O"
    kind = getattr(dtype, "kind", "O")
    return "f" if kind in "biuf" else kind


def dtypes_of(X):
    """Types of the columns of a frame, or that of an array, in a list."""
    return list(X.dtypes) if is_frame(X) else [dtype_of(X)]


def as_columns(X):
    """Values of each column of a frame, or an array, by position."""
    if not is_frame(X):
        array = as_table(X)
        return [array[:, j] for j in range(array.shape[1])]
    if is_polars(X):
        return [X[name] for name in X.columns]
    # Several times faster than by position.
    return [column for _, column in X.items()]


def column_names(X):
    """Name of each column, by its position in arrays."""
    if is_frame(X):
        return [str(name) for name in X.columns]
    return [f"x{j}" for j in range(len(as_columns(X)))]


def column_labels(X):
    """What selects each column: its name in a frame, its position in an array."""
    return list(X.columns) if is_frame(X) else list(range(np.shape(X)[1]))


def column_label(X, feature):
    """What selects one column of a frame, by name or position; its position elsewhere.

    A name that no column has stands for itself.
    """
    if is_frame(X) and feature not in X.columns:
        return X.columns[feature]
    return feature


def of_kind(X, columns):
    """A table of other columns, whose kind, names and categories are those of X."""
    if is_polars(X):
        import polars as pl

        return pl.DataFrame(
            {n: own.tolist() for n, own in zip(X.columns, columns, strict=True)}
        )
    if not is_frame(X):
        return np.column_stack(columns)
    import pandas as pd

    known = [str(own) == "category" for own in X.dtypes]
    pairs = zip(known, columns, strict=True)
    own = [pd.Categorical(own) if is_kinds else own for is_kinds, own in pairs]
    frame = pd.DataFrame(dict(enumerate(own)))
    return frame.set_axis(X.columns, axis=1)


def without_sparse(X):
    """A frame whose columns are not all sparse with those that are as others are."""
    if not is_frame(X) or is_polars(X):
        return X
    types = X.dtypes.items()
    stored = {name: own.subtype for name, own in types if str(own).startswith("Sparse")}
    return X.astype(stored) if 0 < len(stored) < X.shape[1] else X


def one_column(X, feature):
    """One column, by name or position, as the frame has it, or as an array (n,)."""
    if is_frame(X):
        return X[column_label(X, feature)]
    column = X[:, [feature]]
    return np.ravel(column.toarray() if sparse.issparse(column) else column)


def with_value(X, feature, value):
    """X with one column set to a value."""
    name = column_label(X, feature)
    if is_polars(X):
        import polars as pl

        return X.with_columns(pl.lit(value).alias(name))
    if is_frame(X):
        changed = X.copy()
        changed[name] = value
        return changed
    if not sparse.issparse(X):
        X = np.array(X, dtype=object if X.dtype.kind in "OUS" else float)
    return _with_cells(X, feature, value)


def with_order(X, feature, order):
    """X with the values of one column in another order."""
    name = column_label(X, feature)
    if is_polars(X):
        return X.with_columns(X[name][order])
    if is_frame(X):
        changed = X.copy()
        changed[name] = X[name].array.take(order)
        return changed
    return _with_cells(X, feature, one_column(X, feature)[order])


def _with_cells(X, feature, values):
    """A copy of an array or sparse matrix with one column replaced."""
    changed = X.tolil(copy=True) if sparse.issparse(X) else np.array(X)
    changed[:, [feature]] = np.reshape(np.broadcast_to(values, X.shape[0]), (-1, 1))
    return changed.tocsr() if sparse.issparse(X) else changed


def stacked(tables):
    """Rows of several tables, one after another."""
    first = tables[0]
    if is_polars(first):
        import polars as pl

        return pl.concat(tables)
    if is_frame(first):
        import pandas as pd

        return pd.concat(tables, ignore_index=True)
    if sparse.issparse(first):
        return sparse.vstack(tables, format="csr")
    return np.vstack(tables)
