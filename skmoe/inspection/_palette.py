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
#: Of what adds to an answer, and of what takes from it.
RISES, FALLS = PALETTE[0], PALETTE[1]
#: How lines differ where there are more of them than colours, and in black and white.
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


def colour(k):
    """Colour of the expert at a place: the same in all pictures of a mixture."""
    return PALETTE[k % len(PALETTE)]


def line(k):
    """Colour and dashes of the line of the expert at a place."""
    return {"color": colour(k), "linestyle": DASHES[k // len(PALETTE) % len(DASHES)]}
