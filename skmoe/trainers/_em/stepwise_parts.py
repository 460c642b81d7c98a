"""Stepwise EM of parts that gain from sums: families, curves, Gaussian gates.

Each part takes the step of streamed EM on sums that batches are added to.  What is no
moment of the rows is slope and curvature where a batch was read: a quadratic, whose
slope is carried along when the parameters of its part move.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ...experts._base import traits
from .drivers import task_active
from .refit import Parts
from .stepwise import BaseBatch
from .summed_parts import PartsMixture, needs_all_rows, problem_of, views_of


class PartsFrame(NamedTuple):
    """What sums of parts are told in.

    Attributes
    ----------
    problem : PartsMixture without rows, whose knots, levels and scales stay
    theta : ndarray, its parameters
    """

    problem: PartsMixture
    theta: np.ndarray


def have_sums(parts):
    """Whether gate, experts and likelihood all gain from sums over rows."""
    experts, likelihood = [*map(traits, parts.experts)], parts.likelihood
    return (
        parts.gate.streams
        and not parts.gate.has_lasso
        and all(own.streams and not own.holds for own in experts)
        # The range of noise is that of all rows, those to come as well.
        and not any(own.is_bare for own in experts)
        and not any(needs_all_rows(own, likelihood) for own in experts)
        and likelihood.dispersions is not None
        and parts.router.gated
        and not parts.router.masks_training
    )


class PartsBatch(BaseBatch):
    """Rows of parts that gain from sums, with the parameters of the fit before.

    A step on all rows that forgets all others is one step of EM on rows of a source.
    Sums of several batches are exact for Gaussian and constant gates, and for least
    squares, whose quadratics hold everywhere.  Those of other slopes hold near where
    their batch was read; those of curves of several classes lack the curvature between
    them.  What a move of one part does to slopes of another is left
    out: to those of dispersions the move of coefficients, to those of coefficients the
    responsibilities.  All of that is forgotten with the batches, as steps become
    small.

    Parameters
    ----------
    trainer, task : as of any batch
    frame : PartsFrame
    """

    frames = PartsFrame

    def __init__(self, trainer, task, frame):
        super().__init__(trainer, task)
        self.frame, self.weight = frame, float(task.rows.weight.sum())
        experts = [traits(own) for own in task.start.warm.experts]
        self.n_experts = len(experts)
        self.per_expert = max(own.n_channels for own in experts)

    @classmethod
    def begun(cls, trainer, task):
        fit, weight = task.start.warm, task.rows.weight
        fit = replace(fit, kept=list(range(len(fit.experts))))
        if task.rows.classes is not None:
            fit = with_classes(fit, task.rows)
        problem = problem_of(task, fit, weight, float(weight.sum()))
        n_active = task_active(task, len(fit.experts))
        problem = problem.with_rule(hard=trainer.hard, n_active=n_active)
        theta = problem.pack(Parts(fit.gate, *fit.objective_parts))
        return cls(trainer, task, PartsFrame(problem, theta))

    @classmethod
    def going_on(cls, trainer, task, memory):
        rows, frame = task.rows, memory.frame
        problem = frame.problem.widened(views_of(rows), memory.seen, rows.weight)
        return cls(trainer, task, frame._replace(problem=problem))

    def sums(self):
        (problem, theta), rows = self.frame, self.task.rows
        sums, parts = problem.zeros(), problem.parts(theta)
        of_rows = views_of(rows), rows.y, rows.weight, rows.size
        problem.add_views(parts, problem.split(theta), sums, *of_rows)
        return sums

    def total(self, sums):
        return float(sums[0][0])

    def follow(self, sums, weight):
        problem, theta = self.frame.problem.of_total(self.frame.theta, weight)
        sums = problem.named(sums)
        value, load = problem.value(theta, sums), problem.load(sums)
        moved = self._held(problem, theta, problem.maximise(theta, sums))
        sums = problem.carried(theta, moved, sums)
        if problem.renews:
            problem, moved, _ = problem.renewed(moved, sums)
        self.frame = PartsFrame(problem, moved)
        return value, load, sums.arrays()

    def found(self, sums):
        return self.frame.problem.parts(self.frame.theta).at_rest(), None

    def _held(self, problem, before, theta):
        """New parameters, but those of before where parts are frozen."""
        pairs = [problem.split(before), problem.split(theta)]
        (old, gate), *others = zip(*pairs, strict=True)
        left = [old if self.task.start.freeze == "gate" else gate]
        for own in others:
            pairs = zip(self._frozen, *own, strict=True)
            left += [old if stays else new for stays, old, new in pairs]
        return np.concatenate(left)


def with_classes(fit, rows):
    """The fit, whose linear experts know classes that no row of theirs has, too."""
    n_rows = float(rows.weight.sum())
    experts = [own.with_classes(rows.classes, n_rows) for own in fit.experts]
    return replace(fit, experts=experts, before=None)
