"""What was compared to choose a student, and what was chosen, in numbers and words."""

from __future__ import annotations

from typing import Any, NamedTuple


class Candidate(NamedTuple):
    """A model in the comparison: the teacher, or one that might be its student.

    Attributes
    ----------
    name : str
    loss : float
        On rows held out, which neither it nor its teacher has seen; NaN if it could not
        be fitted.
    row_seconds : float
        CPU seconds of a prediction of one row by itself.
    batch_seconds : float
        The same per row of up to 1000 rows at a time.
    failed : str or None
        Why it could not be fitted.
    """

    name: str
    loss: float
    row_seconds: float
    batch_seconds: float
    failed: str | None = None


class Distilled(NamedTuple):
    """What a student was chosen for; prints as sentences.

    Attributes
    ----------
    chosen : Candidate
    teacher : Candidate
    metric : str
        What losses are: ``"RMSE"``, of several outputs in their standard deviations, or
        ``"log-loss"``.
    tolerance : float
        Share of the teacher's loss by which that of a cheaper student might be larger.
    candidates : list of Candidate
        All that were compared, the chosen one among them.

    Examples
    --------
    >>> from skmoe.distillation import Candidate, Distilled
    >>> teacher = Candidate("teacher", 4.66, 0.0418, 0.000173)
    >>> student = Candidate("network", 4.71, 0.000142, 7.1e-07)
    >>> found = Distilled(student, teacher, "RMSE", 0.02, [student])
    >>> str(found).split(";")[0].split(":")[0]
    "Student 'network', the cheapest within 2.0% of the teacher's loss"
    >>> round(1 / found.price_ratio)
    294
    """

    chosen: Candidate
    teacher: Candidate
    metric: str
    tolerance: float
    candidates: list[Candidate]

    @property
    def loss_ratio(self) -> float:
        """Loss of the student over that of the teacher, both on rows held out.

        Infinite where only the teacher makes no mistake.
        """
        if self.teacher.loss == 0:
            return 1.0 if self.chosen.loss == 0 else float("inf")
        return self.chosen.loss / self.teacher.loss

    @property
    def price_ratio(self) -> float:
        """CPU time of the student for one row over that of the teacher."""
        return self.chosen.row_seconds / self.teacher.row_seconds

    def to_frame(self) -> Any:
        """A pandas frame of all that were compared, the teacher in the last row."""
        import pandas as pd

        rows = [*self.candidates, self.teacher]
        return pd.DataFrame(rows, columns=Candidate._fields).set_index("name")

    def __str__(self) -> str:
        chosen, teacher = self.chosen, self.teacher
        within = chosen.loss <= (1 + self.tolerance) * teacher.loss
        near = f"within {self.tolerance:.1%} of the teacher's loss"
        why = f"the cheapest {near}" if within else f"the best, as none is {near}"
        return (
            f"Student {chosen.name!r}, {why}: {self.metric} {chosen.loss:.4g} on rows "
            f"held out, beside {teacher.loss:.4g} of the teacher "
            f"({self.loss_ratio - 1:+.1%}). One row costs {_duration(chosen, 0)} in "
            f"place of {_duration(teacher, 0)} of CPU time "
            f"(1/{1 / self.price_ratio:.0f}), a row among many {_duration(chosen, 1)} "
            f"in place of {_duration(teacher, 1)} "
            f"(1/{teacher.batch_seconds / chosen.batch_seconds:.0f})."
        )

    __repr__ = __str__


def _duration(candidate, among_many):
    seconds = candidate.batch_seconds if among_many else candidate.row_seconds
    if seconds >= 1e-3:
        return f"{1e3 * seconds:.3g} ms"
    return f"{1e6 * seconds:.3g} µs"
