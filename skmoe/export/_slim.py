"""Fitted models without what only training needs."""

from __future__ import annotations

import copyreg
import io
import pickle
from typing import TypeVar

from .._estimators.base import BaseMoE
from .._estimators.lean import lean

Model = TypeVar("Model")


def slim(model: Model) -> Model:
    """A copy of a fitted model without what only training needs.

    The state of optimisers, the sums of stepwise training, ``history_``,
    ``lower_bounds_`` and ``expert_pool_`` are left out; whatever a model says of rows,
    it says to the bit as before.  A call that needs what was left out, such as
    ``partial_fit``, a fit with ``warm_start=True`` or a picture of the convergence,
    says so; a fit that starts afresh works, and so does ``clone``.

    Parameters
    ----------
    model : fitted mixture, or whatever holds some
        A pipeline, a search, a stack, or a list of them: all mixtures in it become
        slim, and all else is copied as it is, a search's table of candidates and
        experts of other libraries included.  It is left as it is.

    Returns
    -------
    The copy, of the same class, which shares nothing with the model.

    Raises
    ------
    ValueError
        If it holds no fitted mixture.

    See Also
    --------
    offload : a fitted mixture whose experts are on disk.

    Notes
    -----
    The model is copied by a pickle in memory, so it has to be one that can be pickled.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.export import slim
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2, trainer="gradient", random_state=0).fit(X, y)
    >>> small = slim(model)
    >>> bool((small.predict(X) == model.predict(X)).all())
    True
    >>> small.history_
    Traceback (most recent call last):
    ...
    AttributeError: MoERegressor has no history_, which skmoe.export.slim left out; \
keep the model itself for histories and pictures of them.
    """
    stream = io.BytesIO()
    pickler = _Pickler(stream, protocol=pickle.HIGHEST_PROTOCOL)
    pickler.dump(model)
    if not pickler.found:
        raise ValueError(
            f"slim got {type(model).__name__}, in which there is no fitted mixture of "
            "skmoe; fit it first, or keep this model as it is."
        )
    stream.seek(0)
    return pickle.load(stream)


class _Pickler(pickle.Pickler):
    """Pickles fitted mixtures, wherever they are, as lean ones."""

    #: Whether there was one.
    found = False

    def reducer_override(self, thing):
        """How a lean copy is made of a mixture; all else goes its own way."""
        if not isinstance(thing, BaseMoE) or thing._learned is None:
            return NotImplemented
        self.found = True
        return copyreg.__newobj__, (type(thing),), lean(thing).__getstate__()
