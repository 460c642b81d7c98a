"""What both estimators share: parameters, fitting as a transaction, evaluation."""

import functools
import numbers

import numpy as np
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.validation import check_is_fitted

from . import _features, mixture
from ._inputs import read_table, text_columns, without_columns
from ._members import MembersGate, MembersRouter
from ._resolve import (
    TRAINERS,
    adapt_expert,
    check_names,
    named_experts,
    preset,
    resolve_gate,
    resolve_router,
)
from ._sklearn import (
    HasMethods,
    Interval,
    VisualBlock,
    check_sample_weight,
    raise_for_params,
    routing_enabled,
)
from .experts import LinearExpert
from .experts._foreign import is_frozen, warn_without_weight
from .trainers._refit import predict_expert
from .trainers._task import Fit, Task

PRESETS = {"softmax": "SoftmaxGate()", "em": "EM()", "gaussian": "Gaussian()"}


def transactional(fit):
    """Leave a fitted estimator exactly as it was if ``fit`` raises."""

    @functools.wraps(fit)
    def wrapped(self, *args, **kwargs):
        before = self.__dict__.copy()
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    return wrapped


class BaseMoE(CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Parameters, training and evaluation that do not depend on the task."""

    _doc_link_module = "skmoe"

    _parameter_constraints = {
        "experts": [HasMethods(["fit"]), list, tuple, None],
        "n_experts": [Interval(numbers.Integral, 1, None, closed="left")],
        "gate": [str, HasMethods(["fit"])],
        "router": [
            Interval(numbers.Integral, 1, None, closed="left"),
            HasMethods(["route"]),
            None,
        ],
        "trainer": [str, HasMethods(["fit_task"])],
        "gate_features": "no_validation",
        "expert_features": "no_validation",
        "n_members": [Interval(numbers.Integral, 1, None, closed="left")],
        "n_init": [Interval(numbers.Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "n_jobs": [numbers.Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # -- parameters of experts ---------------------------------------------------

    def _named_experts(self):
        return named_experts(self.experts, self.n_experts, self._default_expert())

    def get_params(self, deep=True):
        """Parameters, with those of named experts as ``name`` and ``name__x``."""
        params = super().get_params(deep=deep)
        if deep and isinstance(self.experts, (list, tuple)) and self.experts:
            for name, expert in zip(*self._named_experts(), strict=True):
                params[name] = expert
                if hasattr(expert, "get_params") and not isinstance(expert, type):
                    own = expert.get_params(deep=True)
                    params.update({f"{name}__{k}": v for k, v in own.items()})
        return params

    def set_params(self, **params):
        """Set parameters, those of nested objects and of experts by name included."""
        if "experts" in params:
            self.experts = params.pop("experts")
        if isinstance(self.experts, (list, tuple)):
            names = self._named_experts()[0]
            for name in [n for n in names if n in params]:
                self._replace_expert(names.index(name), params.pop(name))
        for key in params:
            self._refuse_preset(key)
        own = set(self._get_param_names())
        nested = {k: v for k, v in params.items() if k.split("__")[0] not in own}
        if nested and isinstance(self.experts, (list, tuple)):
            params = {k: v for k, v in params.items() if k not in nested}
            self._set_nested(nested)
        elif nested:
            params = {**params, **nested}
        super().set_params(**params)
        return self

    def _replace_expert(self, position, expert):
        experts = list(self.experts)
        old = experts[position]
        experts[position] = (old[0], expert) if isinstance(old, tuple) else expert
        self.experts = experts

    def _set_nested(self, params):
        experts = dict(zip(*self._named_experts(), strict=True))
        for key, value in params.items():
            name, _, rest = key.partition("__")
            if name not in experts or not rest:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self}. Valid "
                    f"parameters are: {sorted(self._get_param_names())} and the "
                    f"experts {sorted(experts)}."
                )
            experts[name].set_params(**{rest: value})

    def _refuse_preset(self, key):
        name, _, nested = key.partition("__")
        value = getattr(self, name, None)
        if not nested or not (value is None or isinstance(value, (str, int))):
            return
        if name in self._get_param_names():
            example = PRESETS.get(value, "an object")
            raise ValueError(
                f"Cannot set {key!r}: {name}={value!r} is a preset without "
                f"parameters of its own; pass the object, such as {name}={example}, "
                "and set the parameter on it."
            )

    # -- tags, routing, representation -------------------------------------------

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        try:
            tags.input_tags.allow_nan = self._all_allow("allow_nan")
            tags.input_tags.sparse = self._all_allow("sparse")
        except (TypeError, ValueError, AttributeError):
            # Tags are asked for before parameters are validated.
            pass
        return tags

    def _all_allow(self, what):
        gate = resolve_gate(self.gate, type(self).__name__)
        gate_features = _features.resolve(self.gate_features, "gate_features")
        if gate_features is not None:
            gate_ok = _features.allows(gate_features, what)
        elif hasattr(gate, "_resolved"):
            gate_ok = _features.allows(gate._resolved(), what)
        else:
            gate_ok = not gate.numeric or what == "sparse"
        return gate_ok and all(
            self._expert_allows(expert, what) for expert in self._named_experts()[1]
        )

    def _expert_allows(self, expert, what):
        if self.expert_features is not None and not isinstance(
            self.expert_features, dict
        ):
            spec = _features.resolve(self.expert_features, "expert_features")
            return _features.allows(spec, what)
        if isinstance(expert, LinearExpert):
            return what == "sparse"
        return _features.allows(expert, what)

    def get_metadata_routing(self):
        """Metadata routing of this object and its experts."""
        router = MetadataRouter(owner=self).add_self_request(self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        names, experts = self._named_experts()
        if not isinstance(self.experts, (list, tuple)):
            names, experts = ["experts"], experts[:1]
        return router.add(
            **dict(zip(names, experts, strict=True)), method_mapping=mapping
        )

    def _sk_visual_block_(self):
        names, experts = self._named_experts()
        return VisualBlock("parallel", experts, names=names)

    # -- fitting -----------------------------------------------------------------

    def _fit(self, X, y, sample_weight, fit_params):
        owner = type(self).__name__
        gate = resolve_gate(self.gate, owner)
        names, experts = self._named_experts()
        if not names:
            raise ValueError(f"{owner} got experts=[], but expected at least one.")
        check_names(names, set(self._get_param_names()), owner)
        experts = [
            adapt_expert(e, name, self._classify, owner)
            for name, e in zip(names, experts, strict=True)
        ]
        trainer = preset(self.trainer, TRAINERS, "trainer", owner)
        router = resolve_router(self.router, len(experts), owner)
        likelihood = self._make_likelihood()
        previous = self._previous(len(experts)) if self.warm_start else None
        table = self._read(X, reset=True, gate=gate, experts=experts)
        y, weight = self._read_target(table, y, sample_weight)
        self._check_size(table, weight, len(experts))
        self._fit_features(table, y, weight, gate, names, experts)
        self._seed_experts(experts)
        warn_without_weight(names, experts)
        task = Task(
            gate=gate,
            router=router,
            likelihood=likelihood,
            names=names,
            experts=experts,
            gate_view=self._gate_view(table, gate),
            expert_views=self._expert_views(table, experts, range(len(experts))),
            y=self._encode(y),
            labels=y,
            classes=getattr(self, "classes_", None),
            weight=weight,
            n_init=self.n_init,
            n_jobs=self.n_jobs,
            fit_params=self._route_fit_params(names, fit_params),
        )
        self._train(trainer, _positive_rows(task), previous, X, y)
        return self

    def _train(self, trainer, task, previous, X, y):
        rng = check_random_state(self.random_state)
        context = self._open_callbacks(X, y)
        fits = []
        for member in range(self.n_members):
            task.seed = int(rng.randint(np.iinfo(np.int32).max))
            task.start = member if self.n_members > 1 else None
            task.warm_start = previous[member] if previous else None
            task.report = self._reporter(context, task, X, y)
            fits.append(trainer.fit_task(task))
        self._commit(task, fits)
        if context is not None:
            context.call_on_fit_task_end(
                estimator=self, X=X, y=y, reconstruction_attributes=dict
            )

    def _route_fit_params(self, names, fit_params):
        if not routing_enabled():
            raise_for_params(fit_params, self, "fit", allow=[])
            return []
        routed = process_routing(self, "fit", **fit_params)
        single = not isinstance(self.experts, (list, tuple))
        return [dict(routed["experts" if single else name]["fit"]) for name in names]

    def _seed_experts(self, experts):
        """Give unseeded experts a seed, so that a fit depends on ours alone."""
        rng = check_random_state(self.random_state)
        for expert in experts:
            if is_frozen(expert):
                continue
            for key in sorted(expert.get_params(deep=True)):
                if key == "random_state" or key.endswith("__random_state"):
                    if expert.get_params(deep=True)[key] is None:
                        seed = int(rng.randint(np.iinfo(np.int32).max))
                        expert.set_params(**{key: seed})

    def _check_size(self, table, weight, n_experts):
        n_rows = int(np.count_nonzero(weight))
        if n_rows < n_experts or n_rows < 2:
            raise ValueError(
                f"{type(self).__name__} got n_samples={n_rows} with positive weight, "
                f"but {n_experts} experts need at least {max(2, n_experts)} rows; "
                "use fewer experts or more rows."
            )

    def _previous(self, n_experts):
        """Earlier fits to continue from, one per member, or None."""
        if not hasattr(self, "gate_"):
            return None
        members = getattr(self, "members_", [self])
        sizes = {len(m.experts_) for m in members}
        if len(members) != self.n_members or sizes != {n_experts}:
            raise ValueError(
                f"warm_start=True got a fitted mixture of {len(members)} members with "
                f"{sizes} experts, but expected {self.n_members} with {n_experts}; "
                "clone the estimator to start afresh."
            )
        return [m._as_fit() for m in members]

    def _as_fit(self):
        return Fit(
            self.gate_,
            self.experts_,
            self.likelihoods_,
            list(range(len(self.experts_))),
            self.log_likelihood_,
            self.lower_bounds_,
            self.expert_load_,
            self.n_iter_,
            self.converged_,
            {},
        )

    # -- callbacks ---------------------------------------------------------------

    def _open_callbacks(self, X, y):
        if not getattr(self, "_skl_callbacks", None):
            return None
        context = self._init_callback_context(max_subtasks=None)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        return context

    def _reporter(self, context, task, X, y):
        def report(iteration, bound, make_fit):
            if self.verbose:
                print(f"[{type(self).__name__}] iteration {iteration}: {bound:.6f}")
            if context is None:
                return False
            sub = context.subcontext(task_name="iteration")
            sub.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return sub.call_on_fit_task_end(
                estimator=self,
                X=X,
                y=y,
                reconstruction_attributes=lambda: self._attributes(task, make_fit()),
            )

        return report

    # -- committing --------------------------------------------------------------

    def _attributes(self, task, fit):
        """Fitted attributes of one mixture, as a dict."""
        names = [task.names[k] for k in fit.kept]
        router = clone(task.router)
        if hasattr(router, "k") and router.k > len(names):
            router.set_params(k=len(names))
        attributes = {
            "gate_": fit.gate,
            "router_": router,
            "experts_": fit.experts,
            "named_experts_": dict(zip(names, fit.experts, strict=True)),
            "n_experts_": len(names),
            "likelihoods_": fit.likelihoods,
            "log_likelihood_": fit.log_likelihood,
            "lower_bounds_": fit.lower_bounds,
            "n_iter_": fit.n_iter,
            "converged_": fit.converged,
            "expert_load_": fit.load,
            "history_": fit.history,
            "_kept": fit.kept,
        }
        shared = ("n_features_in_", "feature_names_in_", "classes_")
        fitted = {k: v for k, v in vars(self).items() if k in shared}
        features = {
            k: v
            for k, v in vars(self).items()
            if k in ("gate_features_", "expert_features_", "_dropped", "_y_ndim")
        }
        attributes["n_parameters_"] = count_parameters(attributes)
        return {**fitted, **features, **attributes}

    def _commit(self, task, fits):
        attributes = [self._attributes(task, fit) for fit in fits]
        if len(fits) == 1:
            self.__dict__.pop("members_", None)
            self.__dict__.update(attributes[0])
            return
        members = []
        for own in attributes:
            member = clone(self).set_params(n_members=1)
            member.__dict__.update(own)
            members.append(member)
        self.__dict__.update(joined(members, attributes))
        self.log_likelihood_ = float(
            task.weight @ self._log_density(task.gate_view, task.expert_views, task)
        )

    def _log_density(self, gate_view, expert_views, task):
        views = [expert_views[k] for k in self._kept]
        log_prob = self._log_prob(views, task.y)
        with np.errstate(divide="ignore"):
            log_gate = np.log(self._route(gate_view).dense())
        return mixture.log_density(log_gate, log_prob)

    # -- reading X ---------------------------------------------------------------

    def _read(self, X, *, reset, gate=None, experts=None):
        gate = self.gate_ if gate is None else gate
        experts = self.experts_ if experts is None else experts
        numeric_gate = gate.numeric and self.gate_features is None
        linear = any(isinstance(e, LinearExpert) for e in experts)
        linear = linear and self.expert_features is None
        drops = hasattr(gate, "segments")
        allow_text = not numeric_gate and (not linear or drops)
        tags = get_tags(self).input_tags
        return read_table(self, X, reset=reset, allow_text=allow_text, tags=tags)

    def _fit_features(self, table, y, weight, gate, names, experts):
        self._dropped = []
        if table.numbers is None and any(isinstance(e, LinearExpert) for e in experts):
            # Built-in experts read numbers: they skip the text column of the gate.
            self._dropped = text_columns(table.raw)
        gate_features = _features.resolve(self.gate_features, "gate_features")
        self.gate_features_ = _features.fit_features(
            gate_features, table.raw, y, weight
        )
        specs = self.expert_features
        if not isinstance(specs, dict):
            common = _features.fit_features(
                _features.resolve(specs, "expert_features"), table.raw, y, weight
            )
            self.expert_features_ = [common] * len(experts)
            return
        unknown = sorted(set(specs) - set(names))
        if unknown:
            raise ValueError(
                f"expert_features names {unknown}, but the experts are {names}."
            )
        self.expert_features_ = [
            _features.fit_features(
                _features.resolve(specs.get(name), "expert_features"),
                table.raw,
                y,
                weight,
            )
            for name in names
        ]

    def _gate_view(self, table, gate=None):
        gate = self.gate_ if gate is None else gate
        if self.gate_features_ is not None:
            same = self.gate_features_ is self.expert_features_[0]
            return self._cached_view(table, self.gate_features_) if same else (
                _features.view(self.gate_features_, table.raw)
            )
        return table.numbers if gate.numeric else table.raw

    def _expert_views(self, table, experts=None, kept=None):
        """What each expert sees; equal transformers are applied once."""
        experts = self.experts_ if experts is None else experts
        kept = self._kept if kept is None else kept
        made = {}
        views = []
        for expert, k in zip(experts, kept, strict=True):
            transformer = self.expert_features_[k]
            key = (id(transformer), isinstance(expert, LinearExpert))
            if key not in made:
                made[key] = self._expert_view(table, expert, transformer)
            views.append(made[key])
        return views

    def _expert_view(self, table, expert, transformer):
        if transformer is not None:
            return _features.view(transformer, table.raw)
        if not isinstance(expert, LinearExpert):
            return table.raw
        if self._dropped:
            return without_columns(table.raw, self._dropped)
        return table.numbers

    # -- evaluation --------------------------------------------------------------

    def _views(self, X):
        check_is_fitted(self)
        table = self._read(X, reset=False)
        return table, self._gate_view(table), self._expert_views(table)

    def _route(self, gate_view):
        return self.router_.route(self.gate_.predict_log_proba(gate_view), X=gate_view)

    def _predictions(self, views):
        """Predictions of every expert, shape (n, K, d)."""
        classes = getattr(self, "classes_", None)
        return np.stack(
            [
                predict_expert(expert, view, classes)
                for expert, view in zip(self.experts_, views, strict=True)
            ],
            axis=1,
        )

    def _log_prob(self, views, y):
        classes = getattr(self, "classes_", None)
        return np.column_stack(
            [
                likelihood.log_prob(y, predict_expert(expert, view, classes))
                for expert, likelihood, view in zip(
                    self.experts_, self.likelihoods_, views, strict=True
                )
            ]
        )

    def _combined(self, X):
        """Mixture mean (n, d): only the experts that a row was routed to are asked."""
        _, gate_view, views = self._views(X)
        routing = self._route(gate_view)
        if routing.indices.shape[1] == len(self.experts_):
            return mixture.mean(routing.dense(), self._predictions(views))
        return self._combine_sparse(routing, views)

    def _combine_sparse(self, routing, views):
        from sklearn.utils import _safe_indexing

        classes = getattr(self, "classes_", None)
        out = None
        for k, rows, slots in mixture.dispatch(routing.indices, len(self.experts_)):
            part = predict_expert(
                self.experts_[k], _safe_indexing(views[k], rows), classes
            )
            if out is None:
                out = np.zeros((len(routing.indices), part.shape[1]))
            out[rows] += routing.weights[rows, slots][:, None] * part
        return out

    def _log_parts(self, X, y):
        """Log gate weights after routing, and expert log-densities, both (n, K)."""
        _, gate_view, views = self._views(X)
        y = self._encode(self._check_y(y, len_of=gate_view))
        with np.errstate(divide="ignore"):
            log_gate = np.log(self._route(gate_view).dense())
        return log_gate, self._log_prob(views, y)

    # -- public methods of both estimators ---------------------------------------

    def gate_proba(self, X):
        """Gate weights after routing.

        Parameters
        ----------
        X : array-like of shape (n, p)

        Returns
        -------
        ndarray of shape (n, K)
            Rows sum to one; experts that do not serve a row have weight zero.
        """
        _, gate_view, _ = self._views(X)
        return self._route(gate_view).dense()

    def route(self, X):
        """Active experts of each row, and their weights.

        Returns
        -------
        skmoe.routers.Routing
        """
        _, gate_view, _ = self._views(X)
        return self._route(gate_view)

    def transform(self, X):
        """Gate weights as features; the same as :meth:`gate_proba`."""
        return self.gate_proba(X)

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of :meth:`transform`: those of the experts."""
        check_is_fitted(self)
        return np.asarray(list(self.named_experts_), dtype=object)

    def log_density(self, X, y):
        """Natural logarithm of p(y_i | x_i), in units of y, shape (n,).

        Normalising constants are included.
        """
        return mixture.log_density(*self._log_parts(X, y))

    def responsibilities(self, X, y):
        """Posterior probability of each expert given x and y, shape (n, K)."""
        return mixture.responsibilities(*self._log_parts(X, y))

    def _criterion(self, X, y, sample_weight):
        if self.n_parameters_ is None:
            raise ValueError(
                f"Expert {uncounted(self)!r} has no count of parameters, which the "
                "criterion needs; use skmoe.experts.LinearExpert or compare models "
                "by cross-validation."
            )
        log_gate, log_prob = self._log_parts(X, y)
        weight = (
            np.ones(len(log_gate))
            if sample_weight is None
            else np.asarray(sample_weight, dtype=float)
        )
        deviance = -2 * float(weight @ mixture.log_density(log_gate, log_prob))
        return deviance, weight, log_gate, log_prob

    def aic(self, X, y, sample_weight=None):
        """Akaike's criterion on the given data; lower is better."""
        deviance, *_ = self._criterion(X, y, sample_weight)
        return deviance + 2 * self.n_parameters_

    def bic(self, X, y, sample_weight=None):
        """Bayesian information criterion on the given data; lower is better."""
        deviance, weight, *_ = self._criterion(X, y, sample_weight)
        return deviance + self.n_parameters_ * np.log(weight.sum())

    def icl(self, X, y, sample_weight=None):
        """Integrated completed likelihood: BIC plus twice the entropy of who serves."""
        deviance, weight, log_gate, log_prob = self._criterion(X, y, sample_weight)
        resp = mixture.responsibilities(log_gate, log_prob)
        penalty = self.n_parameters_ * np.log(weight.sum())
        return deviance + penalty + 2 * mixture.entropy(resp, weight)

    def _weights(self, table, sample_weight):
        if sample_weight is None:
            return np.ones(table.n_rows)
        return check_sample_weight(
            sample_weight,
            table.raw,
            dtype=np.float64,
            ensure_non_negative=True,
            allow_all_zero_weights=False,
        )


def _positive_rows(task):
    """Drop rows of weight zero: they must count for nothing anywhere."""
    from sklearn.utils import _safe_indexing

    rows = np.flatnonzero(task.weight > 0)
    if len(rows) == len(task.weight):
        return task
    cache = {}

    def take(view):
        if id(view) not in cache:
            cache[id(view)] = _safe_indexing(view, rows)
        return cache[id(view)]

    task.gate_view = take(task.gate_view)
    task.expert_views = [take(view) for view in task.expert_views]
    task.y, task.labels = task.y[rows], task.labels[rows]
    task.weight = task.weight[rows]
    return task


def expert_parameters(expert):
    """Number of free parameters of a fitted expert, or None if it has no count."""
    if hasattr(expert, "n_parameters_"):
        return expert.n_parameters_
    if hasattr(expert, "coef_") and hasattr(expert, "intercept_"):
        return np.count_nonzero(expert.coef_) + np.size(expert.intercept_)
    return None


def uncounted(model):
    """Name of the first part without a count of parameters."""
    for name, expert in model.named_experts_.items():
        if expert_parameters(expert) is None:
            return name
    return type(model.gate_).__name__


def count_parameters(attributes):
    """Free parameters of a mixture, or None if a part has no count."""
    counts = [expert_parameters(e) for e in attributes["experts_"]]
    counts.append(getattr(attributes["gate_"], "n_parameters_", None))
    if any(count is None for count in counts):
        return None
    dispersion = sum(x.n_parameters_ for x in attributes["likelihoods_"])
    return int(round(sum(counts) + dispersion))


def joined(members, attributes):
    """Attributes of the average of several fitted mixtures."""
    best = max(attributes, key=lambda a: a["log_likelihood_"])
    sizes = [m.n_experts_ for m in members]
    names = [
        f"member{j}_{name}"
        for j, member in enumerate(members)
        for name in member.named_experts_
    ]
    experts = [e for m in members for e in m.experts_]
    load = np.concatenate([m.expert_load_ for m in members]) / len(members)
    counts = [m.n_parameters_ for m in members]
    return {
        **best,
        "gate_": MembersGate([m.gate_ for m in members]),
        "router_": MembersRouter(members[0].router_, sizes),
        "experts_": experts,
        "named_experts_": dict(zip(names, experts, strict=True)),
        "n_experts_": len(experts),
        "likelihoods_": [x for m in members for x in m.likelihoods_],
        "expert_load_": load,
        "n_iter_": max(m.n_iter_ for m in members),
        "converged_": all(m.converged_ for m in members),
        "n_parameters_": None if None in counts else sum(counts),
        "members_": members,
        "_kept": [k for m in members for k in m._kept],
    }


__all__ = ["BaseMoE", "logsumexp", "transactional"]
