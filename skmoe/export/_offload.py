"""Mixtures whose experts stay on disk until a row is routed to them."""

from __future__ import annotations

import copy
import pickle
import threading
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Self

import joblib
import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from .._estimators.base import BaseMoE
from .._estimators.regressor import MoERegressor
from .._estimators.routed import are_linear, stacked_coefficients
from .._stamp import Stamped
from .._typing import Table
from ..experts._base import traits
from ..routers import Routing
from ._folder import (
    MIXTURE,
    STACK,
    read_contents,
    read_mixture,
    write_contents,
    write_folder,
)
from ._shelf import Shelf, StoredExpert, check_budget, check_largest

REGRESSOR, CLASSIFIER = "regressor", "classifier"
_opening = threading.Lock()


def offload(
    model: BaseEstimator, folder: str | PathLike[str], budget: int | None = None
) -> Any:
    """Put the experts of a fitted mixture on disk, from where they are asked.

    The answer predicts what ``model`` does, to the bit.  The gate and all else but the
    experts are in memory; an expert is loaded when it is asked for rows, its arrays as
    maps of its file, and the one that was not asked for longest is let go where the
    budget is spent.  Under a sparse router :meth:`predict` and ``predict_proba`` ask
    the experts that rows are routed to, and no others; whatever reads the whole
    density asks all of them, one after the other.

    Parameters
    ----------
    model : fitted mixture
        Of :class:`~skmoe.MoERegressor`, :class:`~skmoe.MoEClassifier` or a hierarchy.
        It is left as it is.
    folder : path
        New, or empty.  It is there in full or not at all, its files are read-only, and
        any number of processes may read them at the same time.
    budget : int, default=None
        Bytes that the experts in memory may have in files, no fewer than the largest
        has; None for any.  Memory that an expert takes beyond its file, as while it is
        loaded or computes, does not count.

    Returns
    -------
    OffloadedRegressor or OffloadedClassifier
        Pickled it is a reference to the folder.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    TypeError
        If it is none of ours; of a pipeline, give the last step.
    FileExistsError
        If the folder holds other files.
    ValueError
        If the budget is below the size of the largest expert; nothing is left then.

    See Also
    --------
    OffloadedRegressor, OffloadedClassifier : open such a folder again.

    Notes
    -----
    Files are pickles, which run code: open only folders of those whom you trust.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.export import offload
    >>> X, y = make_regimes(200, random_state=0)
    >>> forest = RandomForestRegressor(5, random_state=0)
    >>> model = MoERegressor(forest, n_experts=2, router=1).fit(X, y)
    >>> folder = tempfile.mkdtemp()
    >>> on_disk = offload(model, folder)
    >>> bool((on_disk.predict(X) == model.predict(X)).all())
    True
    >>> on_disk.statistics_.loads
    2
    """
    if not isinstance(model, BaseMoE):
        raise TypeError(
            f"offload got a {type(model).__name__}, but expected a fitted mixture of "
            "skmoe, such as MoERegressor; of a pipeline give the last step."
        )
    check_is_fitted(model)
    check_budget(budget)
    write_folder(folder, lambda new: _write(new, model, budget))
    is_regressor = isinstance(model, MoERegressor)
    kind = OffloadedRegressor if is_regressor else OffloadedClassifier
    return kind(str(Path(folder).resolve()), budget)


def _write(folder, model, budget):
    """All files of a mixture."""
    numbers_of, experts = {}, []
    for name, expert in model.named_experts_.items():
        number = numbers_of.setdefault(id(expert), len(experts))
        if number < len(experts):
            # One that serves in several places is stored once.
            experts[number]["names"].append(name)
            continue
        file = f"expert-{number:04d}.joblib"
        joblib.dump(expert, folder / file)
        own = traits(expert)
        said = {"added": own.added, "marks": own.marks}
        experts.append({"file": file, "names": [name], **said})
    if are_linear(model.experts_):
        np.save(folder / STACK, stacked_coefficients(model.experts_))
    with (folder / MIXTURE).open("wb") as stream:
        pickler = _Pickler(stream, protocol=pickle.HIGHEST_PROTOCOL)
        pickler.numbers_of = numbers_of
        pickler.dump(_without_training(model))
    is_regressor = isinstance(model, MoERegressor)
    write_contents(folder, REGRESSOR if is_regressor else CLASSIFIER, experts)
    check_largest(Shelf(folder, read_contents(folder), budget).stored, budget)


class _Pickler(pickle.Pickler):
    """Pickles a mixture with the numbers of its experts in their places."""

    def persistent_id(self, thing):
        """Number of an expert, None for anything else."""
        return self.numbers_of.get(id(thing))


def _without_training(model):
    """The mixture without what only further training needs."""
    own = copy.copy(model)
    own.experts = None
    vars(own).pop("expert_pool_", None)
    own._learned = model._learned._replace(state=None, before=None)
    if "members_" in vars(model):
        own.members_ = [_without_training(member) for member in model.members_]
    return own


class Opened(NamedTuple):
    """An offloaded mixture in this process.

    Attributes
    ----------
    asked : folder and budget for which it was opened
    shelf : Shelf
    mixture : fitted mixture, with a ``StoredExpert`` for each of its experts
    """

    asked: tuple
    shelf: Shelf
    mixture: BaseMoE


def open_folder(folder, budget, kind, owner):
    """``Opened`` of a folder that ``offload`` made."""
    check_budget(budget)
    contents = read_contents(folder)
    if contents["kind"] != kind:
        raise ValueError(
            f"{owner} got folder={str(folder)!r}, which holds a {contents['kind']}; "
            f"use Offloaded{contents['kind'].capitalize()}."
        )
    shelf = Shelf(Path(folder), contents, budget)
    check_largest(shelf.stored, budget)
    places = [StoredExpert(shelf, number) for number in range(len(shelf.stored))]
    mixture = read_mixture(folder, contents, places.__getitem__)
    return Opened((folder, budget), shelf, mixture)


class OffloadedMixture(TransformerMixin, Stamped):
    """What both offloaded estimators answer; see :func:`offload`."""

    _kind = None
    # What is open in this process, of which pickles and clones know nothing.
    _opened = None

    def __init__(self, folder: str | PathLike[str], budget: int | None = None) -> None:
        self.folder = folder
        self.budget = budget

    def __getstate__(self):
        return {k: v for k, v in super().__getstate__().items() if k != "_opened"}

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        return self.mixture_.__sklearn_tags__()

    def _open(self):
        asked = self.folder, self.budget
        with _opening:
            if self._opened is None or self._opened.asked != asked:
                owner = type(self).__name__
                self._opened = open_folder(*asked, self._kind, owner)
            return self._opened

    @property
    def mixture_(self) -> Any:
        """The mixture itself; its experts are references to files, with ``load()``."""
        return self._open().mixture

    @property
    def statistics_(self) -> Any:
        """How often experts were asked, loaded and let go since the folder was opened:
        ``asked``, ``loads``, ``drops``, ``n_held`` and ``n_bytes`` of those in memory.
        """
        return self._open().shelf.use

    @property
    def n_features_in_(self) -> int:
        """Columns of X."""
        return self.mixture_.n_features_in_

    @property
    def feature_names_in_(self) -> NDArray:
        """Names of the columns of X, where it had some."""
        return self.mixture_.feature_names_in_

    @property
    def n_experts_(self) -> int:
        """Number of experts."""
        return self.mixture_.n_experts_

    def fit(self, X: Table, y: ArrayLike | None = None) -> Self:
        """Not to be had: files are not trained.

        Raises
        ------
        AttributeError
        """
        raise AttributeError(
            f"{type(self).__name__} reads a fitted mixture, and has no fit; fit the "
            "mixture and offload it again, or wrap this in FrozenEstimator where a fit "
            "is called."
        )

    def verify(self) -> None:
        """Read all files; raise ``ValueError`` unless they are as they were written."""
        self._open().shelf.check()

    def gate_proba(self, X: Table) -> NDArray:
        """As of the mixture; no expert is asked."""
        return self.mixture_.gate_proba(X)

    def route(self, X: Table) -> Routing:
        """As of the mixture; no expert is asked."""
        return self.mixture_.route(X)

    def transform(self, X: Table) -> NDArray:
        """Gate weights as features; the same as :meth:`gate_proba`."""
        return self.gate_proba(X)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray:
        """Names of the experts."""
        return self.mixture_.get_feature_names_out(input_features)

    def predict_experts(self, X: Table, **sizes: Any) -> NDArray:
        """As of the mixture."""
        return self.mixture_.predict_experts(X, **sizes)

    def log_density(
        self, X: Table, y: ArrayLike | None = None, **sizes: Any
    ) -> NDArray:
        """As of the mixture."""
        return self.mixture_.log_density(X, y, **sizes)

    def responsibilities(self, X: Table, y: ArrayLike, **sizes: Any) -> NDArray:
        """As of the mixture."""
        return self.mixture_.responsibilities(X, y, **sizes)

    def score(
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        **sizes: Any,
    ) -> float:
        """As of the mixture."""
        return self.mixture_.score(X, y, sample_weight, **sizes)

    def aic(
        self,
        X: Table,
        y: ArrayLike | None,
        sample_weight: ArrayLike | None = None,
        **sizes: Any,
    ) -> float:
        """As of the mixture."""
        return self.mixture_.aic(X, y, sample_weight, **sizes)

    def bic(
        self,
        X: Table,
        y: ArrayLike | None,
        sample_weight: ArrayLike | None = None,
        **sizes: Any,
    ) -> float:
        """As of the mixture."""
        return self.mixture_.bic(X, y, sample_weight, **sizes)

    def icl(
        self,
        X: Table,
        y: ArrayLike | None,
        sample_weight: ArrayLike | None = None,
        **sizes: Any,
    ) -> float:
        """As of the mixture."""
        return self.mixture_.icl(X, y, sample_weight, **sizes)


class OffloadedRegressor(OffloadedMixture):
    """A fitted mixture for regression whose experts are on disk.

    It is opened when it is first asked, and closed with the process; clones and pickles
    are references to the folder.  Answers are those of the mixture to the bit.

    Parameters
    ----------
    folder : path
        That :func:`offload` made of an :class:`~skmoe.MoERegressor`.
    budget : int, default=None
        Bytes of the files of experts in memory; None for any.

    Attributes
    ----------
    mixture_ : the mixture, with a reference to a file for each expert
    statistics_ : how often experts were ``asked``, and the ``loads`` and ``drops``
    n_experts_, n_features_in_, feature_names_in_ : as of the mixture

    Raises
    ------
    FileNotFoundError
        When it is asked, if the folder or a file in it is missing.
    ValueError
        When it is asked, if a file is damaged, or the budget below the largest expert.

    Examples
    --------
    >>> import tempfile
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.export import OffloadedRegressor, offload
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2, router=1).fit(X, y)
    >>> folder = tempfile.mkdtemp()
    >>> in_this_process = offload(model, folder)
    >>> in_another = OffloadedRegressor(folder, budget=10_000)
    >>> bool((in_another.predict(X) == model.predict(X)).all())
    True
    """

    _kind = REGRESSOR

    def predict(
        self,
        X: Table,
        return_std: bool = False,
        *,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
    ) -> NDArray:
        """As of the mixture; under a sparse router only the experts of the rows are
        asked, unless ``return_std``."""
        return self.mixture_.predict(X, return_std, offset=offset, trials=trials)

    def predict_quantile(self, X: Table, q: ArrayLike = 0.5, **sizes: Any) -> NDArray:
        """As of the mixture."""
        return self.mixture_.predict_quantile(X, q, **sizes)

    def predict_interval(
        self, X: Table, coverage: float = 0.9, **sizes: Any
    ) -> NDArray:
        """As of the mixture."""
        return self.mixture_.predict_interval(X, coverage, **sizes)

    def predict_mode(self, X: Table, **sizes: Any) -> NDArray:
        """As of the mixture."""
        return self.mixture_.predict_mode(X, **sizes)

    def sample_y(
        self,
        X: Table,
        n_samples: int = 1,
        random_state: int | RandomState | None = None,
        **sizes: Any,
    ) -> NDArray:
        """As of the mixture."""
        return self.mixture_.sample_y(X, n_samples, random_state, **sizes)

    def outlier_proba(self, X: Table, y: ArrayLike, **sizes: Any) -> NDArray:
        """As of the mixture."""
        return self.mixture_.outlier_proba(X, y, **sizes)


class OffloadedClassifier(OffloadedMixture):
    """A fitted mixture for classification whose experts are on disk.

    As :class:`OffloadedRegressor`, of an :class:`~skmoe.MoEClassifier`.

    Parameters
    ----------
    folder : path
    budget : int, default=None
        Bytes of the files of experts in memory; None for any.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    mixture_, statistics_ : as of :class:`OffloadedRegressor`
    n_experts_, n_features_in_, feature_names_in_ : as of the mixture

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_iris
    >>> from skmoe import MoEClassifier
    >>> from skmoe.export import offload
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MoEClassifier(n_experts=2, random_state=0).fit(X, y)
    >>> on_disk = offload(model, tempfile.mkdtemp())
    >>> bool((on_disk.predict_proba(X) == model.predict_proba(X)).all())
    True
    """

    _kind = CLASSIFIER

    @property
    def classes_(self) -> NDArray:
        """Class labels."""
        return self.mixture_.classes_

    def predict(self, X: Table) -> NDArray:
        """As of the mixture; only the experts that rows are routed to are asked."""
        return self.mixture_.predict(X)

    def predict_proba(self, X: Table) -> NDArray:
        """As of the mixture; only the experts that rows are routed to are asked."""
        return self.mixture_.predict_proba(X)

    def predict_log_proba(self, X: Table) -> NDArray:
        """As of the mixture; only the experts that rows are routed to are asked."""
        return self.mixture_.predict_log_proba(X)
