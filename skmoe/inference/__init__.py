"""Standard errors, tables of coefficients, and tests, of a fitted mixture."""

from .._stamp import public
from ._errors import StandardErrors, standard_errors
from ._indices import FitIndices, fit_indices
from ._relabel import relabel
from ._summary import Summary, summary
from ._test import BootstrapTest, bootstrap_test

__all__ = [
    "BootstrapTest",
    "FitIndices",
    "StandardErrors",
    "Summary",
    "bootstrap_test",
    "fit_indices",
    "relabel",
    "standard_errors",
    "summary",
]

public(
    __name__,
    BootstrapTest,
    FitIndices,
    StandardErrors,
    Summary,
    bootstrap_test,
    fit_indices,
    relabel,
    standard_errors,
    summary,
)
