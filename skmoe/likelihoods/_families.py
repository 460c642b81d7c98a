"""A family for each expert, told apart by number."""

import numpy as np

from ._base import Likelihood, weighted_variance


def scale_of(family):
    """What all families of a mixture must have in common, by what it is."""
    return {
        "link": family.link,
        "exposures or trials": family.takes,
        "counts": family.discrete,
    }


class Families(Likelihood):
    """What ``likelihood=[...]`` of a mixture stands for.

    Parameters
    ----------
    families : list of likelihoods, one per expert
    """

    def __init__(self, families):
        self.families = families

    @property
    def link(self):
        """That of all of them."""
        return self.families[0].link

    @property
    def takes(self):
        """That of all of them."""
        return self.families[0].takes

    @property
    def discrete(self):
        """That of all of them."""
        return self.families[0].discrete

    @property
    def atom(self):
        """Value with a probability of its own under one of them, or None."""
        return next((x.atom for x in self.families if x.atom is not None), None)

    @property
    def support(self):
        """Where all of them have densities."""
        low, high = zip(*(own.support for own in self.families), strict=True)
        return max(low), min(high)

    @property
    def differs(self):
        """Whether they are not all the same."""
        return len({repr(own) for own in self.families}) > 1

    def check(self):
        """Raise ``ValueError`` for families that have no common scale."""
        first = self.families[0]
        for own in self.families:
            own.check()
            for what, value in scale_of(first).items():
                other = scale_of(own)[what]
                if value != other:
                    raise ValueError(
                        f"likelihood has {first!r} and {own!r}, whose {what} differ "
                        f"({value!r} and {other!r}), but expected families of one "
                        "kind; take others, or one for all experts."
                    )
            if own.models_variance:
                raise ValueError(
                    f"likelihood has {own!r} for some experts, but a model of the "
                    f"variance is for all of them; use likelihood={own!r}."
                )

    def check_target(self, y, size=None):
        """Raise ``ValueError`` for targets that one of them has no density of."""
        for own in self.families:
            own.check_target(y, size)

    def of_expert(self, number):
        """The family of an expert; a component without one has none."""
        return self.families[number] if number < len(self.families) else self

    def of_experts(self, kept):
        """The families of some of the experts, by number; others have none."""
        return Families([self.families[k] for k in kept if k < len(self.families)])

    def size_of(self, given):
        """Exposures or trials, as all of them take them."""
        return self.families[0].size_of(given)

    def predictor(self, y, size=None):
        """Targets on the scale of the linear predictor, which they have in common."""
        return self.families[0].predictor(y, size)

    def evidence(self, size):
        """Rows of evidence (n,) that a row of some size is; None for one."""
        return self.families[0].evidence(size)

    def fit_dispersions(
        self,
        y,
        predictions,
        weights,
        *,
        priors=None,
        size=None,
        previous=None,
        spread=None,
    ):
        """One fitted copy per expert, of its family; equal ones are fitted together."""
        if spread is None:
            spread = weighted_variance(y, weights.sum(axis=1))
        places, fitted = {}, {}
        for k, own in enumerate(self.families):
            places.setdefault(repr(own), []).append(k)
        for own in places.values():
            found = self.families[own[0]].fit_dispersions(
                y,
                [predictions[k] for k in own],
                weights[:, own],
                priors=None if priors is None else [priors[k] for k in own],
                size=size,
                previous=None if previous is None else [previous[k] for k in own],
                spread=np.asarray(spread),
            )
            fitted.update(zip(own, found, strict=True))
        return [fitted[k] for k in range(len(self.families))]
