"""Colours that the colour-blind can tell apart, in the order in which they are used.

References
----------
.. [1] Okabe, M. & Ito, K. (2008). Color universal design.
   The yellow, which hardly shows on white, is a wine red here, after
   Tol, P. (2021). Colour schemes.
"""

from __future__ import annotations

from sklearn.base import BaseEstimator

from ._unwrap import unwrap

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
#: How far a colour goes to black, or to white, when it comes the second and third time.
SHADES = (0.0, -0.45, 0.5)
#: Of whatever else there is.
OTHERS = "#b8b8b8"
#: Of what adds to an answer, and of what takes from it: colours of no expert.
RISES, FALLS = "#018571", "#a6611a"
#: How lines differ where there are more of them than colours, and in black and white.
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


def colour(k):
    """Colour of the expert at a place: the same in all pictures of a mixture."""
    times, place = divmod(k, len(PALETTE))
    return _mixed(PALETTE[place], SHADES[times % len(SHADES)])


def _mixed(name, share):
    """A colour with a share of white in it, or of black if the share is negative."""
    end = 255 if share > 0 else 0
    parts = (int(name[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(
        f"{round(own + abs(share) * (end - own)):02x}" for own in parts
    )


def line(k):
    """Colour and dashes of the line of the expert at a place."""
    return {"color": colour(k), "linestyle": DASHES[k // len(PALETTE) % len(DASHES)]}


def tint(k):
    """The same colour, light enough for words upon it."""
    return _mixed(colour(k), 0.78)


def expert_colors(model: BaseEstimator) -> dict[str, str]:
    """The colours of the experts in all pictures of a mixture.

    Parameters
    ----------
    model : fitted mixture, search or pipeline

    Returns
    -------
    dict of str
        Hexadecimal colours by names of experts, which the colour-blind can tell apart.
        There are eight, each in three shades; the 25th expert has that of the first.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import expert_colors
    >>> X, y = make_regimes(200, random_state=0)
    >>> expert_colors(MoERegressor(n_experts=2).fit(X, y))
    {'expert0': '#0072b2', 'expert1': '#d55e00'}
    """
    return {name: colour(k) for k, name in enumerate(unwrap(model).named_experts_)}
