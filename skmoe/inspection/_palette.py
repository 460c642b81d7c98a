"""Colours that the colour-blind can tell apart, in the order in which they are used.

References
----------
.. [1] Okabe, M. & Ito, K. (2008). Color universal design.
   The yellow, which hardly shows on white, is a wine red here, after
   Tol, P. (2021). Colour schemes.
"""

PALETTE = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#882255",
    "#5f5f5f",
)
#: Of whatever else there is.
OTHERS = "#b8b8b8"
