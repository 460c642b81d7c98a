"""Warnings that skmoe raises."""

__all__ = ["ExpertCollapseWarning", "NoSampleWeightWarning"]


class ExpertCollapseWarning(UserWarning):
    """An expert lost its rows and was started again or removed."""


class NoSampleWeightWarning(UserWarning):
    """An expert takes no sample weights and is fitted on a weighted resample."""
