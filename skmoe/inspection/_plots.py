"""What pictures share: axes, columns to draw along, and what they are called."""

from .._sklearn import check_matplotlib_support
from .._tables.columns import column_numbers
from .._tables.frames import column_label, one_column


def axes_for(ax, owner, figsize=None):
    """The axes given, or those of a new figure."""
    check_matplotlib_support(f"{owner}.plot")
    import matplotlib.pyplot as plt

    if ax is not None:
        return ax
    return plt.subplots(figsize=figsize, layout="constrained")[1]


def column_values(X, feature):
    """One column, by name or position, as floats: seconds where it holds times.

    Raises ``ValueError`` for a column of text, whose values have no order.
    """
    column = one_column(X, feature)
    try:
        return column_numbers(column)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The column {column_label(X, feature)!r} holds values that are no "
            "numbers, along which nothing can be drawn; choose another feature."
        ) from error


def feature_name(X, feature):
    """Name of a column in pictures."""
    name = column_label(X, feature)
    return name if isinstance(name, str) else f"x{name}"
