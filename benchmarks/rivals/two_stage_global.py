"""skmoe: the same without corrections that depend on x."""

from . import two_stage

NAME = "skmoe two-stage, local_correction=None"


def make(classify, seed, pool):
    """The mixture whose experts keep their answers, but for slope or temperature."""
    model = two_stage.make(classify, seed, pool)
    return model.set_params(trainer__local_correction=None)
