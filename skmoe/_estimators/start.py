"""Where training starts, as the user gives it: labels or responsibilities."""

import numpy as np

from .._tables.frames import from_arrow, refuse_name
from ..experts._noise import NOISE, ZERO
from .subjects import gaps_of

# Share of each row that noise starts with where labels say nothing of it.
NOISE_SHARE = 0.05
# How far sums of responsibilities may be from one.
ROUNDING = 1e-6


def read_start(start, parts, given, model, is_open):
    """Responsibilities (n, K) to start from, None for None.

    Parameters
    ----------
    start : labels (n,), or responsibilities (n, K), or one row of either per group
    parts : ResolvedParts, of as many experts as there may be
    given : Given
    model : mixture
    is_open : bool, whether the start says how many experts there are
    """
    if start is None:
        return None
    owner, trainer = parts.asked.owner, parts.trainer
    if not trainer.starts_anywhere:
        raise ValueError(
            f"{owner} got start with trainer={trainer!r}, which begins in its own way; "
            "use trainer='em', or leave start out."
        )
    if model.n_members > 1:
        raise ValueError(
            f"{owner} got start with n_members={model.n_members}, but members differ "
            "by their starts; use n_members=1, or leave start out."
        )
    refuse_name("start", start, "a label, or responsibilities,")
    values = _of_rows(np.asarray(from_arrow(start)), given, owner)
    size = None if is_open else len(parts.experts)
    bare = parts.asked.n_bare
    if values.ndim == 1:
        return _of_labels(values, parts.names, size, bare, owner)
    return _checked(values, size, bare, owner)


def _of_rows(values, given, owner):
    """A start with a row for each row of X."""
    n, groups = len(given.y), given.groups
    per_group = groups is not None and len(values) == len(groups.labels) != n
    values = values[groups.codes] if per_group and values.ndim else values
    if values.ndim not in (1, 2) or len(values) != n:
        raise ValueError(
            f"{owner} got start of shape {values.shape}, but expected labels ({n},) or "
            f"responsibilities ({n}, n_experts)."
        )
    return values


def _of_labels(labels, names, size, bare, owner):
    """Responsibilities of rows that belong to one expert each."""
    gaps = gaps_of(labels)
    if gaps.any():
        raise ValueError(
            f"{owner} got start without a label in row {int(np.argmax(gaps))}, but "
            "expected one for each row."
        )
    distinct, codes = np.unique(labels, return_inverse=True)
    most = len(distinct) if size is None else size
    whole = labels.dtype.kind in "iuf" and np.all(labels == np.floor(labels))
    if whole and distinct[0] >= 0 and distinct[-1] < most:
        codes = labels.astype(int)
    elif np.isin(distinct.astype(str), names).all():
        places = np.array([names.index(str(own)) for own in distinct])
        # Where they say how many experts there are, names are in their order.
        places = places if size is not None else np.argsort(np.argsort(places))
        codes = places[codes]
    found = int(codes.max()) + 1
    if size is None:
        known = {NOISE, ZERO} & {*distinct.astype(str)}
        size = max(found, 1 + bare) if known else found + bare
    if found > size:
        raise ValueError(
            f"{owner} got start with {found} labels, but expected at most {size}, one "
            "for each expert; use fewer, or a larger n_experts."
        )
    resp = np.eye(size)[codes]
    return _with_bare(resp) if bare and not resp[:, -1].any() else resp


def _with_bare(resp):
    """Responsibilities with a share for noise, or zeros, the last component."""
    resp = (1.0 - NOISE_SHARE) * resp
    resp[:, -1] = NOISE_SHARE
    return resp


def _checked(resp, size, bare, owner):
    """Responsibilities (n, K) as floats, those of noise included."""
    if size is not None and resp.shape[1] != size:
        beside = ", noise or zeros included as the last" if bare else ""
        raise ValueError(
            f"{owner} got start with {resp.shape[1]} columns, but expected {size}, one "
            f"for each expert{beside}."
        )
    try:
        resp = resp.astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{owner} got start that holds no numbers ({error}), but expected "
            "responsibilities."
        ) from error
    sums = resp.sum(axis=1)
    if not (np.all(resp >= 0) and np.all(np.abs(sums - 1.0) < ROUNDING)):
        row = int(
            np.argmax(~((resp >= 0).all(axis=1) & (np.abs(sums - 1.0) < ROUNDING)))
        )
        raise ValueError(
            f"{owner} got start with {resp[row].tolist()} in row {row}, but expected "
            "shares >= 0 that sum to one; divide each row by its sum."
        )
    return resp
