"""A fitted mixture in a graph: gate and router, experts by rows or together, means."""

from functools import cached_property

import numpy as np

from ..._estimators.answers import fitted_mixture
from ...experts._base import traits
from ._experts import prediction, smooth, tilted
from ._gates import is_sparse, log_weights, weights_of
from ._inputs import Matrix
from ._registry import expert_converter, likelihood_converter
from ._transformers import transformed


class Seeing:
    """What the parts of a mixture see of inputs; equal views are made once.

    Parameters
    ----------
    graph : Graph
    inputs : Inputs
        Of the table as the user has it.
    table : Table
        The rows by which answers are compared.
    """

    def __init__(self, graph, inputs, table):
        self.graph, self.inputs, self.table, self._known = graph, inputs, table, {}

    def of(self, view, who):
        """The ``Inputs`` of a view, with what the part itself sees of the sample."""
        parts = view.transformer, view.fill, view.flat, view.curves
        key = (*map(id, parts), view.numbers, tuple(view.dropped))
        if key not in self._known:
            self._known[key] = self._made(view, who)
        return self._known[key]

    def _made(self, view, who):
        graph, inputs = self.graph, self.inputs
        inputs.sample = self.table.raw
        if view.transformer is not None:
            inputs = transformed(view.transformer, graph, inputs, f"columns of {who}")
        elif view.fill is not None:
            inputs = self._filled(inputs, view.fill)
        elif view.dropped:
            gone = {int(j) for j in inputs.positions(view.dropped)}
            inputs = inputs.select(
                [j for j in range(inputs.n_columns) if j not in gone]
            )
        if view.flat is not None:
            inputs = inputs.with_values(view.flat)
        inputs = inputs.copied()
        inputs.curves = view.curves
        whole = view._replace(curves=None).of(self.table)
        inputs.sample = whole
        return inputs

    def _filled(self, inputs, fill):
        X = inputs.numbers()
        filled = self.graph.op("Where", self.graph.op("IsNaN", X), fill, X)
        return Matrix.of(self.graph, filled, inputs.n_columns)


class MixtureInGraph:
    """Tensors of a fitted mixture, each made when it is first asked for.

    Parameters
    ----------
    own : FittedMixture
    names : list of str, of the experts
    graph : Graph
    inputs : Inputs
    table : Table
    """

    def __init__(self, own, names, graph, inputs, table):
        self.own, self.names, self.graph = own, names, graph
        self.seeing = Seeing(graph, inputs, table)

    @cached_property
    def gate_inputs(self):
        """What the gate sees."""
        return self.seeing.of(self.own.views.gate, "the gate")

    def expert_inputs(self, k):
        """What an expert sees."""
        return self.seeing.of(self.own.views.experts[k], self.who(k))

    def who(self, k):
        """An expert, for messages."""
        return f"expert {self.names[k]!r}"

    @property
    def is_sparse(self):
        """Whether rows may have fewer than all experts."""
        return is_sparse(self.own.router, self.own.n_experts)

    @cached_property
    def weights(self):
        """Gate weights (n, K) after routing."""
        own = self.own
        return weights_of(
            own.gate, self.graph, self.gate_inputs, own.router, own.n_experts
        )

    @cached_property
    def gate(self):
        """Gate weights (n, K) before routing."""
        logs = log_weights(self.own.gate, self.graph, self.gate_inputs)
        return self.graph.op("Exp", logs)

    @cached_property
    def offset(self):
        """What the shared expert adds to each row, (n, d), or None."""
        shared, own = self.own.shared, self.own
        if shared is None:
            return None
        inputs = self.seeing.of(own.views.shared, "the shared expert")
        values = prediction(
            shared.estimator, self.graph, inputs, shared.classes, None, "shared_expert"
        )
        if shared.classes is None:
            return values
        values = smooth(self.graph, values, len(shared.classes))
        return self.graph.op("Log", values)

    @cached_property
    def groups(self):
        """Positions of experts that see the same and can be asked together."""
        found = {}
        for k, expert in enumerate(self.own.experts):
            own = expert_converter(expert)
            together = own is not None and own.together is not None
            key = (type(expert), id(self.expert_inputs(k))) if together else k
            found.setdefault(key, []).append(k)
        return list(found.values())

    def is_cheap(self, group):
        """Whether experts are asked for all rows even if few serve a row."""
        own = expert_converter(self.own.experts[group[0]])
        return own is not None and own.cheap

    def of_group(self, group):
        """Predictions (n, m, d) of the experts of a group, for all rows."""
        graph, together = self.graph, None
        experts = [self.own.experts[k] for k in group]
        if len(group) > 1:
            convert = expert_converter(experts[0]).together
            together = convert(experts, graph, self.expert_inputs(group[0]))
        if together is not None:
            return self._finished(together, experts)
        each = [graph.op("Unsqueeze", self.of_expert(k), np.array([1])) for k in group]
        return graph.op("Concat", *each, axis=1) if len(each) > 1 else each[0]

    def _finished(self, values, experts):
        """Predictions (n, m, d) with classes and the shared expert as they must be."""
        graph, classes = self.graph, self.own.target.classes
        offset = self.offset
        if offset is not None:
            offset = graph.op("Unsqueeze", offset, np.array([1]))
        if classes is None:
            return values if offset is None else graph.op("Add", values, offset)
        known = experts[0].classes_
        if not all(np.array_equal(own.classes_, known) for own in experts):
            values = self._placed(values, experts)
        elif not np.array_equal(known, classes):
            places = (known[:, None] == np.asarray(classes)[None, :]).astype(float)
            values = graph.op("MatMul", values, places)
        if not traits(experts[0]).is_smooth:
            values = smooth(graph, values, len(classes))
        return values if offset is None else tilted(graph, values, offset, axis=2)

    def _placed(self, values, experts):
        """Probabilities (n, m, c) of experts that know different classes."""
        classes = np.asarray(self.own.target.classes)
        places = [own.classes_[:, None] == classes[None, :] for own in experts]
        at = self.graph.op("Unsqueeze", values, np.array([3]))
        placed = self.graph.op("Mul", at, np.array(places, dtype=float))
        return self.graph.sum(placed, axis=2, keepdims=0)

    def of_expert(self, k, rows=None):
        """Prediction (n, d) of one expert, or of some rows only."""
        inputs, offset = self.expert_inputs(k), self.offset
        if rows is not None:
            inputs = inputs.taken(rows)
            if offset is not None:
                offset = self.graph.op("Gather", offset, rows, axis=0)
        own, classes = self.own.experts[k], self.own.target.classes
        return prediction(own, self.graph, inputs, classes, offset, self.who(k))

    @cached_property
    def predictions(self):
        """Predictions (n, K, d) of all experts."""
        parts = [self.of_group(group) for group in self.groups]
        if len(parts) == 1:
            return parts[0]
        order = [k for group in self.groups for k in group]
        joined = self.graph.op("Concat", *parts, axis=1)
        places = np.argsort(order)
        if np.array_equal(places, np.arange(len(places))):
            return joined
        return self.graph.op("Gather", joined, places, axis=1)

    def each(self, values, k):
        """What a tensor (n, K, d) has of one expert, (n, d)."""
        return self.graph.op("Gather", values, np.int64(k), axis=1)

    @cached_property
    def means(self):
        """Mean (n, K, d) of every expert."""
        return self._means(self.predictions, range(self.own.n_experts))

    def _means(self, predictions, group):
        """Means (n, m, d) of some experts, given their predictions."""
        likelihoods = [self.own.likelihoods[k] for k in group]
        own = [likelihood_converter(likelihood) for likelihood in likelihoods]
        kinds = {one.mean for one in own}
        if kinds == {None}:
            return predictions
        if len(kinds) == 1 and own[0].alike:
            return own[0].mean(likelihoods[0], self.graph, predictions, None)
        each = []
        for place, k in enumerate(group):
            mean = self._mean(k, self.each(predictions, place))
            each.append(self.graph.op("Unsqueeze", mean, np.array([1])))
        return self.graph.op("Concat", *each, axis=1) if len(each) > 1 else each[0]

    def _mean(self, k, values):
        """Mean (n, d) of one expert."""
        likelihood = self.own.likelihoods[k]
        own = likelihood_converter(likelihood)
        if own.mean is None:
            return values
        return own.mean(likelihood, self.graph, values, None)

    @cached_property
    def mean(self):
        """Mean (n, d) of the mixture: only the experts of a row are asked."""
        if self.own.has_noise:
            return self.weighed(self.explained, self.means)
        if not self.is_sparse:
            return self.weighed(self.weights, self.means)
        alone = self._alone()
        if alone is not None:
            return alone
        graph, total = self.graph, None
        for group in self.groups:
            if not self.is_cheap(group):
                continue
            means = self._means(self.of_group(group), group)
            weights = self.weights
            if len(group) < self.own.n_experts:
                weights = graph.columns(weights, group)
            part = self.weighed(weights, means)
            total = part if total is None else graph.op("Add", total, part)
        return self._dispatched(total)

    def _alone(self):
        """Mean (n, d) where rows have one expert each, of experts that can be chosen.

        None where that is not so.
        """
        own, graph = self.own, self.graph
        convert = expert_converter(own.experts[0])
        kinds = {likelihood_converter(each).mean for each in own.likelihoods}
        one = own.router.plain_top_k and own.router.n_active(own.n_experts) == 1
        if not one or len(self.groups) > 1 or convert is None or len(kinds) > 1:
            return None
        likelihood = likelihood_converter(own.likelihoods[0])
        if convert.chosen is None or not likelihood.alike:
            return None
        numbers = graph.op("ArgMax", self.weights, axis=1, keepdims=1)
        inputs = self.expert_inputs(0)
        values = convert.chosen(own.experts, graph, inputs, numbers)
        if values is None:
            return None
        values = graph.op("Unsqueeze", values, np.array([1]))
        values = graph.op("Squeeze", self._finished(values, own.experts), np.array([1]))
        return self._mean(0, values)

    def _dispatched(self, total):
        """The total (n, d), with what experts add that are asked for their rows only.

        Rows of an expert are found, gathered, and their answers scattered.
        """
        graph = self.graph
        asked = [k for own in self.groups if not self.is_cheap(own) for k in own]
        if not asked:
            return total
        by_expert = graph.op("Transpose", self.weights, perm=[1, 0])
        for k in asked:
            weight = graph.op("Gather", by_expert, np.int64(k), axis=0)
            served = graph.op("NonZero", graph.op("Greater", weight, 0.0))
            rows = graph.reshape(served, -1)
            own = graph.reshape(graph.op("Gather", weight, rows, axis=0), -1, 1)
            part = graph.op("Mul", self._mean(k, self.of_expert(k, rows)), own)
            if total is None:
                total = graph.filled(self.weights, self.n_outputs)
            places = graph.op("Transpose", served, perm=[1, 0])
            total = graph.op("ScatterND", total, places, part, reduction="add")
        return total

    @property
    def n_outputs(self):
        """Outputs, or classes."""
        target = self.own.target
        return target.n_outputs if target.classes is None else len(target.classes)

    def weighed(self, weights, values):
        """Sums (n, d) of values (n, K, d) by weights (n, K)."""
        weights = self.graph.op("Unsqueeze", weights, np.array([2]))
        return self.graph.sum(self.graph.op("Mul", values, weights), axis=1, keepdims=0)

    @cached_property
    def explained(self):
        """Weights (n, K) without noise; rows that were routed to it go by the gate."""
        if not self.own.has_noise:
            return self.weights
        graph, there = self.graph, (~self.own.is_noise()).astype(float)
        weights = graph.op("Mul", self.weights, there)
        if self.is_sparse:
            served = graph.op("Greater", graph.sum(weights), 0.0)
            gate = graph.op("Max", self.gate, np.finfo(float).tiny)
            weights = graph.op("Where", served, weights, graph.op("Mul", gate, there))
        return graph.op("Div", weights, graph.sum(weights))


def mixture_in_graph(model, X, graph, inputs):
    """The ``MixtureInGraph`` of a fitted mixture.

    Parameters
    ----------
    model : fitted mixture
    X : rows by which answers are compared
    graph : Graph
    inputs : Inputs, what the mixture sees
    """
    own = fitted_mixture(model)
    table = own.views.read(model, X)
    return MixtureInGraph(own, list(model.named_experts_), graph, inputs, table)
