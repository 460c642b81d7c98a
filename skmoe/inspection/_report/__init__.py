"""One page that says what a fitted mixture has learned, to be handed over."""

from __future__ import annotations

import numbers
import os
import tempfile
from os import PathLike
from pathlib import Path
from typing import Any, Self

from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from ..._estimators.shown import CONSTANT_GATE, experts_in_words, left_out
from ..._typing import Table
from .._numbers import number
from ._chosen import chosen_section
from ._experts import expert_section
from ._given import Given
from ._page import framed, page
from ._quality import quality_section, scores
from ._refits import comparison_section, stability_section
from ._regimes import Telling, regime_section, serving_section
from ._svg import short


class Report:
    """A page of HTML that shows itself in notebooks.

    Parameters
    ----------
    html : str

    Attributes
    ----------
    html : str
        The whole page.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import report
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    >>> report(model, X, y)
    Report of 5 sections, ... kB
    """

    def __init__(self, html: str) -> None:
        self.html = html

    def __repr__(self):
        size = len(self.html.encode("utf-8", "replace")) / 1000
        return f"Report of {self.html.count('<section ')} sections, {size:.0f} kB"

    def _repr_html_(self):
        return framed(self.html)

    def save(self, path: str | PathLike[str]) -> Self:
        """Write the page to a file, which is replaced as a whole if it is there.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        self

        Raises
        ------
        FileNotFoundError
            If its folder does not exist.
        IsADirectoryError
            If it is a folder.
        """
        own = check_path(path)
        descriptor, other = tempfile.mkstemp(
            prefix=f".{own.name[:80]}-", dir=own.parent
        )
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
                file.write(self.html)
            # Temporary files are for their owner only, a page is for others, too.
            mask = os.umask(0)
            os.umask(mask)
            Path(other).chmod(0o666 & ~mask)
            os.replace(other, own)
        except BaseException:
            Path(other).unlink(missing_ok=True)
            raise
        return self


def check_path(path):
    """The ``Path`` of a file that can be written; raises what ``save`` says."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(
            f"report got path={str(path)!r}, which is a folder, but expected a file; "
            f"give one in it, such as {str(path / 'report.html')!r}."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"report got path={str(path)!r}, but there is no folder "
            f"{str(path.parent)!r}; make it, or give another path."
        )
    return path


def report(
    model: BaseEstimator,
    X: Table,
    y: ArrayLike | None = None,
    path: str | PathLike[str] | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    compare: bool = False,
    n_seeds: int = 0,
    title: str | None = None,
    random_state: int | RandomState | None = 0,
    groups: ArrayLike | None = None,
    **sizes: Any,
) -> Report:
    """One page of HTML on a fitted mixture: what it has learned, and where it errs.

    The page has the regimes in words; the curves or coefficients of the experts, or
    which columns move the answers of others; who serves whom along the columns that
    matter; with ``y`` the errors by regime and how well intervals or probabilities are
    calibrated; and single rows explained, to be chosen in the page.  It loads nothing.

    Parameters
    ----------
    model : fitted mixture, search or pipeline
    X : array-like or data frame of shape (n, p)
        As ``model.predict`` takes it; columns of a pipeline go by the names they have
        here.  Of more than 20 000 rows, so many are drawn.
    y : array-like of shape (n,) or (n, n_outputs), default=None
        Best of rows that the mixture was not fitted to.
    path : str or path-like, default=None
        Where the page is written, too; a file that is there is replaced.
    sample_weight : array-like of shape (n,), default=None
    compare : bool, default=False
        Whether the mixture and one expert with the same parts, or each expert alone
        where they differ, are fitted to three quarters of the rows and scored on the
        others.
    n_seeds : int, default=0
        Fits of the same mixture from so many seeds, to see what stays.  Here and in
        ``compare`` it has as many experts as were fitted, even if they were chosen.
    title : str, default=None
    random_state : int, default=0
        Of rows that are drawn, and of shuffles.
    groups : array-like of shape (n,), default=None
        Which rows share one expert, as in ``fit``: who is responsible given ``y`` is
        by groups, fits are of groups, and whole groups are held out.  Errors,
        intervals and log-densities stay those of rows of which no other is known.
    **sizes
        ``offset`` or ``trials`` as in ``fit`` of a regressor.

    Returns
    -------
    Report
        Shows itself in a notebook; ``save(path)`` writes it.

    Raises
    ------
    ValueError
        If there is no mixture in ``model``, or ``compare`` or ``n_seeds`` are asked for
        without ``y``.
    FileNotFoundError, IsADirectoryError
        If ``path`` cannot be a file; nothing is computed then.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import report
    >>> X, y = make_regimes(300, random_state=0)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X[:200], y[:200])
    >>> page = report(model, X[200:], y[200:])
    >>> "<h2>Regimes</h2>" in page.html
    True
    """
    if path is not None:
        check_path(path)
    _check_refits(y, compare, n_seeds)
    given = Given.read(model, X, y, sample_weight, sizes, random_state, groups)
    telling = Telling(given)
    sections = [
        regime_section(given, telling),
        expert_section(given),
        serving_section(given, telling),
        quality_section(given),
    ]
    if compare:
        sections.append(comparison_section(given))
    if n_seeds:
        sections.append(stability_section(given, n_seeds))
    sections.append(chosen_section(given))
    title = title or f"{type(given.model).__name__} of {experts_in_words(given.model)}"
    made = Report(page(title, _summary(given), sections, given.keys))
    return made if path is None else made.save(path)


def _check_refits(y, compare, n_seeds):
    if not isinstance(n_seeds, numbers.Integral) or n_seeds < 0:
        raise ValueError(
            f"report got n_seeds={n_seeds!r}, but expected an integer >= 0, the number "
            "of fits."
        )
    if y is None and (compare or n_seeds):
        raise ValueError(
            f"report got compare={compare!r} and n_seeds={n_seeds!r} without y, but "
            "expected y, which is needed to fit again; pass it."
        )


def _summary(given):
    """What stands at the top of the page."""
    rows, model = given.rows, given.model
    count = len(rows.numbers)
    drawn = "" if count == given.n_rows else f", drawn from {given.n_rows}"
    found = [
        ("Model", short(" ".join(repr(model).split()), 600)),
        ("Rows", f"{count}{drawn}"),
        ("Columns", str(rows.X.shape[1])),
    ]
    if given.own.only_stacks:
        found.append(("Gate", CONSTANT_GATE.removeprefix("the gate is ")))
    lost = left_out(model)
    if lost:
        found.append(("Left out", "; ".join(lost)))
    if given.own.before:
        steps = [name for own in given.own.before for name, _ in own.steps]
        found.insert(1, ("After", ", ".join(steps)))
    if rows.y is not None:
        each = scores(model, given.table, rows).items()
        found.append(("On these rows", ", ".join(f"{n} {number(v)}" for n, v in each)))
    return found
