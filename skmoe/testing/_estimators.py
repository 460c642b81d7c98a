"""What there is to check."""

from __future__ import annotations

import skmoe


def all_estimators() -> list[tuple[str, type]]:
    """The estimators of skmoe, as (name, class) pairs.

    Examples
    --------
    >>> from skmoe.testing import all_estimators
    >>> [name for name, _ in all_estimators()][-2:]
    ['MoEClassifier', 'MoERegressor']
    """
    return [(name, vars(skmoe)[name]) for name in sorted(skmoe.__all__[:-1])]
