"""Fitted mixtures without what only training and its pictures need."""

import copy

#: Fitted attributes that a lean mixture does not have.
LEFT_OUT = ("history_", "lower_bounds_", "expert_pool_")


class LeftOut:
    """Stands for a fitted attribute that is not there, and says so of a lean mixture.

    What an instance has itself comes first.
    """

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, model, kind=None):
        if model is None:
            return self
        if is_lean(model):
            raise AttributeError(
                f"{type(model).__name__} has no {self.name}, which skmoe.export.slim "
                "left out; keep the model itself for histories and pictures of them."
            )
        raise AttributeError(
            f"{type(model).__name__!r} object has no attribute {self.name!r}"
        )


def is_lean(model):
    """Whether a mixture is a copy without what training needs."""
    return model._learned is not None and model._learned.lean


def refuse_lean(model):
    """Raise ``ValueError`` for a mixture that has nothing to train on from."""
    if is_lean(model):
        raise ValueError(
            f"{type(model).__name__} cannot go on training, as skmoe.export.slim left "
            "out what that needs; go on with the model itself, or clone this one and "
            "fit it afresh."
        )


def lean(model):
    """A shallow copy of a fitted mixture without what training needs.

    Answers about rows are the same; members of an average are as they were.
    """
    own = copy.copy(model)
    for name in LEFT_OUT:
        vars(own).pop(name, None)
    learned = model._learned
    own._learned = learned._replace(
        state=None,
        before=None,
        # That it was chosen is a part of how a mixture is printed.
        choice=None if learned.choice is None else {},
        lean=True,
    )
    return own
