"""What ``distill(student="auto")`` refuses, in words."""

from numbers import Integral

from scipy import sparse
from sklearn.base import is_classifier

from .._tables.frames import refuse_flat, refuse_name, refuse_unread
from ..exceptions import did_you_mean
from ..trainers._folds import is_splitter

AUTO = "auto"


def check_choice(teacher, X, y, own, others):
    """Raise ``ValueError`` where no student can be chosen.

    Parameters
    ----------
    teacher : fitted estimator
    X, y : as the user gave them
    own : dict
        ``student``, ``tolerance`` and ``cv``.
    others : dict
        What is for given students only, each with its default.
    """
    name, tolerance = own["student"], own["tolerance"]
    if name != AUTO:
        raise ValueError(
            f"distill got student={name!r}, but expected 'auto' or an estimator"
            + did_you_mean(name, [AUTO])
        )
    if not tolerance >= 0:
        raise ValueError(
            f"distill got tolerance={tolerance!r}, but expected a number >= 0; 0.02 "
            "takes a student that is up to 2 % worse than its teacher."
        )
    folds = own["cv"]
    if not is_splitter(folds) and not (isinstance(folds, Integral) and folds > 1):
        raise ValueError(
            f"distill got cv={folds!r}, but expected a number of folds >= 2, or a "
            "splitter such as KFold(3); if the teacher has not seen the rows of X, "
            "give FrozenEstimator(teacher)."
        )
    for key, default in (("n_experts", None), ("soft_until", 1)):
        if others[key] != default:
            raise ValueError(
                f"distill got {key}={others[key]!r} with student='auto', which chooses "
                f"for itself; leave {key} out, or give the student."
            )
    _check_rows(teacher, X, y)


def _check_rows(teacher, X, y):
    refuse_flat(X, "distill")
    refuse_unread(X, "distill")
    if sparse.issparse(X):
        raise ValueError(
            "distill got a sparse X with student='auto', whose students read dense "
            "tables; give X.toarray(), or the student."
        )
    if y is None:
        raise ValueError(
            "distill got student='auto' without y, by which teacher and students are "
            "compared; give the true targets, or the student."
        )
    refuse_name("y", y, "the true target")
    if is_classifier(teacher) and not hasattr(teacher, "predict_proba"):
        raise ValueError(
            f"distill got teacher={teacher!r}, which has no predict_proba for a "
            "student to learn; wrap it in CalibratedClassifierCV, or give the student."
        )
