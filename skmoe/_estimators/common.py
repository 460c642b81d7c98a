"""Which columns they are whose coefficients are common to all experts, or given."""

import numpy as np
from sklearn.base import clone

from ..experts._base import traits


def with_common(model, task, experts, views):
    """A task with the positions of the common columns.

    Parameters
    ----------
    model : mixture, for the names of columns
    task : Task
    experts : list of unfitted experts, of which some have common coefficients
    views : list of View, one per expert
    """
    pairs = zip(experts, views, task.rows.expert_views, strict=True)
    own = [(traits(e), *more) for e, *more in pairs if traits(e).shares]
    (expert, view, seen), others = own[0], own[1:]
    owner = f"{type(model).__name__} got LinearExpert(common={expert.common!r})"
    if any(other is not seen for _, _, other in others):
        raise ValueError(
            f"{owner} with experts that see different columns; give all of them the "
            "same expert_features, or common=None."
        )
    found = [_position(c, seen.shape[1], view, model, owner) for c in expert.common]
    if len(set(found)) < len(found):
        raise ValueError(f"{owner}, in which a column stands twice; name each once.")
    fixed = [e.fixed for e in task.recipe.experts if traits(e).holds]
    if any(set(found) & set(given) for given in fixed):
        raise ValueError(
            f"{owner}, of which some are fixed, too; leave them out of one of both."
        )
    return task.with_recipe(common=tuple(found))


def with_fixed(model, parts, views, table):
    """Parts whose experts know columns of fixed coefficients by position.

    Parameters
    ----------
    model : mixture, for the names of columns
    parts : ResolvedParts
    views : Views
    table : Table
    """
    pairs = zip(parts.experts, views.experts, strict=True)
    experts = [_fixed_at(model, *pair, table) for pair in pairs]
    shared = _fixed_at(model, parts.shared, views.shared, table)
    return parts._replace(experts=experts, shared=shared)


def _fixed_at(model, expert, view, table):
    """An expert whose ``fixed`` has positions for names."""
    if not traits(expert).holds:
        return expert
    owner = f"{type(model).__name__} got LinearExpert(fixed={expert.fixed!r})"
    n_columns, found = view.training(table).shape[1], {}
    for column, value in expert.fixed.items():
        at = _position(column, n_columns, view, model, owner)
        if at in found:
            raise ValueError(
                f"{owner}, in which a column stands twice; name each once."
            )
        found[at] = value
    return clone(expert).set_params(fixed=found)


def _position(column, n_columns, view, model, owner):
    """Position of a column that is told by name or position."""
    if isinstance(column, (int, np.integer)):
        if -n_columns <= column < n_columns:
            return int(column) % n_columns
        raise ValueError(
            f"{owner}, but the experts see {n_columns} columns; give positions from 0 "
            f"to {n_columns - 1}, or names."
        )
    names = _seen_names(model, view)
    if column not in names:
        shown = f"only {names}" if names else "columns without names"
        raise ValueError(
            f"{owner}, but the experts see {shown}; give other names, or positions."
        )
    return names.index(column)


def _seen_names(model, view):
    """Names of the columns that an expert sees; x0, x1, ... where X has none, and
    nothing where a transformer does not tell."""
    known = vars(model).get("feature_names_in_")
    if view.transformer is not None:
        try:
            return list(map(str, view.transformer.get_feature_names_out(known)))
        except (AttributeError, ValueError):
            return []
    if known is None:
        return [f"x{j}" for j in range(model.n_features_in_)]
    return [str(name) for name in known if name not in set(view.dropped)]
