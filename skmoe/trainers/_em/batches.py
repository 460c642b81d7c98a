"""What learns from batches, and how: by one fused pass, or part by part."""

from dataclasses import replace

from ...engines import single_threaded_blas
from ...experts._base import traits
from .fused_task import are_linear, fits_fused, is_wide
from .stepwise import Batch, Memory
from .stepwise_parts import PartsBatch, have_sums
from .summed_parts import wide_views


def refused(trainer, parts):
    """What keeps no sums over rows, and the remedy; None if nothing."""
    if trainer.objective == "prediction":
        return (
            f"trainer={trainer!r}, whose objective asks for all rows at once; use "
            "objective='likelihood'"
        )
    if any(traits(expert).shares for expert in parts.experts):
        return (
            f"experts {parts.experts!r}, of which common coefficients ask for all rows "
            "at once; use common=None, or call fit"
        )
    if _may_be_fused(parts) or have_sums(parts):
        return None
    return (
        f"experts {parts.experts!r}, gate={parts.gate!r}, router={parts.router!r} and "
        f"likelihood={parts.likelihood!r}, of which {type(trainer).__name__} keeps no "
        "sums over rows; use LinearExpert or AdditiveExpert without a lasso and fixed "
        "coefficients, a family whose dispersions are told by name, gate='softmax', "
        "'additive', 'gaussian' or 'constant', and no router but TopKRouter (equal "
        "LinearExperts of a Gaussian may have both, of classes any penalty), or a tree "
        "of these, or call fit"
    )


def keeping(trainer):
    """What to do where a fit has kept no sums."""
    return (
        "begin with partial_fit, as in sklearn.base.clone(model).partial_fit(X, y), or "
        f"fit with trainer={type(trainer).__name__}(step=...), which keeps them"
    )


def _may_be_fused(parts):
    return are_linear(parts) and parts.gate.linear_form(None) is not None


def kind_of(task):
    """The kind of ``BaseBatch`` that learns a task; None where there is none."""
    if fits_fused(task) and not is_wide(task):
        return Batch
    alone = task.rows.log_prior is None
    known = alone and have_sums(task.recipe) and not wide_views(task)
    return PartsBatch if known else None


def check_columns(task):
    """Raise ``ValueError`` for what has no sums on the columns, and rows, of a task."""
    if task.rows.log_prior is not None and not fits_fused(task):
        raise ValueError(
            f"partial_fit got a shared expert beside experts {task.recipe.experts!r} "
            f"and gate={task.recipe.gate!r}; use shared_expert=None, or LinearExpert "
            "under gate='softmax'."
        )
    if kind_of(task) is None:
        raise ValueError(
            "partial_fit got columns of which the sums over rows would be too large, "
            "or that its parts do not share; under EM give all experts the same dense "
            "columns, and fewer of them, or call fit."
        )


def keeps_sums(trainer, task):
    """Whether the M-step takes sums over rows, and no more."""
    plain = refused(trainer, task.recipe) is None and not task.rows.streamed
    return plain and kind_of(task) is not None


def remembered(trainer, task, fit):
    """A fit with the sums over its rows, to go on from."""
    task = task.going_on(fit)
    with single_threaded_blas():
        batch = kind_of(task).begun(trainer, task)
        return replace(fit, state=batch.remembered(task.rows.weight_unit))


def going_on(trainer, task, fit):
    """The ``BaseBatch`` of a task whose rows are weighed in the unit of a fit's."""
    task = task.going_on(fit)
    return kind_of(task).going_on(trainer, task, fit.state)


def learned(trainer, task):
    """The fit after one step with a batch of rows.

    Raises
    ------
    ValueError
        Where the fit before has not kept its sums, or those of other parts.
    """
    fit, rows, kind = task.start.warm, task.rows, kind_of(task)
    memory = fit.state
    known = isinstance(memory, Memory) and isinstance(memory.frame, kind.frames)
    pairs = zip(task.recipe.experts, fit.experts, strict=True)
    if not known or any(type(asked) is not type(own) for asked, own in pairs):
        raise ValueError(
            "partial_fit goes on from sums over rows, which the fit before has not "
            f"kept; {keeping(trainer)}."
        )
    weight = rows.weight * (rows.weight_unit / memory.unit)
    with single_threaded_blas():
        batch = kind.going_on(trainer, task.with_rows(weight=weight), memory)
        fit = batch.step(memory)
    # Units of weights may differ from batch to batch.
    total = fit.log_likelihood * (memory.unit / rows.weight_unit)
    return replace(fit, log_likelihood=total)
