"""Linear experts that are fitted together, since they have coefficients in common."""

import numpy as np

from .._numerics.arrow import solve_arrow
from .._numerics.given import Given
from ._glm import FIRST_STEPS, WARM_STEPS, Newton


class StackedNewton(Newton):
    """Penalised log-likelihood of all experts in their coefficients (K, d, q).

    A Newton step is one system over pairs of row and expert, whose statistics are the
    weighted Gram matrices of the experts by themselves (Grün & Leisch 2008).

    Parameters
    ----------
    parts : list of K Newton
    common : (c,) positions of the columns whose coefficients are common
    """

    def __init__(self, parts, common):
        self.parts, self.common = parts, common
        self.weight = np.concatenate([own.weight for own in parts])

    def value(self, coef, likelihood):
        """Sum of the experts' log-likelihoods less penalties."""
        trio = zip(self.parts, coef, likelihood, strict=True)
        return sum(own.value(at, family) for own, at, family in trio)

    def target(self, coef, likelihood):
        """Where the quadratic model around ``coef`` has its maximum."""
        trio = list(zip(self.parts, coef, likelihood, strict=True))
        systems = [own.system(at, family) for own, at, family in trio]
        share = min(own[2] for own in systems)
        # In one unit, so that those of all experts can be summed.
        units = np.array([share / own[2] for own in systems])[:, None, None]
        grams = np.stack([own[0] for own in systems]) * units[..., None]
        slope = np.stack([own[1] for own in systems]) * units
        right = np.einsum("kdij,kdj->kdi", grams, coef) + slope
        given = self.given()
        grams, right = given.left(grams, right)
        ridge = np.stack(
            [
                share * own.penalty.ridge / family.penalty_variance(coef.shape[1])
                for own, _, family in trio
            ]
        )
        flat = np.stack([own.flat for own in self.parts])
        found = given.put(solve_arrow(grams, right, ridge, self.common, flat))
        varies = np.delete(np.arange(coef.shape[2]), self.common)
        for k, own in enumerate(self.parts):
            if not own.rows.any():
                # An expert without rows keeps what it had.
                found[k][:, varies] = coef[k][:, varies]
        return found

    def given(self):
        """Coefficients that are given to each expert."""
        own = [part.given for part in self.parts]
        at = np.stack([part.at for part in own])[:, None]
        return Given(at, np.stack([part.coef for part in own]))

    def started(self, experts, design):
        """Coefficients of earlier experts, the common ones at their mean."""
        coef = np.stack([own.standardised(design) for own in experts])
        mass = np.array([own.weight.sum() for own in self.parts])
        mass = mass if mass.sum() > 0 else np.ones(len(mass))
        mean = np.tensordot(mass / mass.sum(), coef[:, :, self.common], 1)
        coef[:, :, self.common] = 0.0
        for k, own in enumerate(self.parts):
            coef[k] = own.given.put(coef[k])
            if own.rows.any():
                coef[k] = own.without_flat(coef[k])
        coef[:, :, self.common] = mean
        return coef


def fit_stacked(experts, design, y, weights, common, *, likelihoods, starts, **rows):
    """Fit experts with common coefficients to weighted rows.

    Parameters
    ----------
    experts : list of K unfitted GeneralizedLinearExpert, which are set
    design : Design
    y : ndarray of shape (n, d)
    weights : ndarray of shape (n, K)
    common : positions (c,) of the columns whose coefficients are common
    likelihoods : list of K fitted likelihoods of the rows
    starts : list of K fitted experts; those of fits apart have no common coefficients
    **rows : ``size`` and ``unit`` as ``GeneralizedLinearExpert.fit_design`` takes them

    Returns
    -------
    list of K fitted experts
    """
    common, design = np.asarray(common, dtype=int), experts[0].design_of(design)
    for expert in experts:
        expert.common_ = common
    own = zip(experts, weights.T, strict=True)
    parts = [
        e._newton(
            e, design, y, np.ascontiguousarray(weight), rows["size"], rows["unit"]
        )
        for e, weight in own
    ]
    newton = StackedNewton(parts, common)
    apart = any(len(start.common_) == 0 for start in starts)
    steps = FIRST_STEPS if apart else WARM_STEPS
    coef = newton.run(newton.started(starts, design), likelihoods, steps)
    pairs = zip(experts, coef, strict=True)
    return [expert.set_standardised(at, design) for expert, at in pairs]
