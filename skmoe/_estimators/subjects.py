"""Groups of rows that belong together, as the user gives them."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from .._sklearn import safe_indexing
from .._tables.frames import as_columns, column_names, from_arrow, is_frame, refuse_name
from .._tables.values import is_gap
from ..trainers._rows import numbered


class Groups(NamedTuple):
    """Which rows belong together.

    Attributes
    ----------
    codes : (n,) numbers of the groups, in order of first appearance
    labels : (S,) what the user calls them
    """

    codes: np.ndarray
    labels: np.ndarray

    def count(self, rows):
        """Number of groups that some of the rows belong to."""
        return len(np.unique(self.codes[rows]))


class GroupsDiffer(ValueError):
    """The gate reads columns that differ within a group."""


def read_groups(groups, n_rows, owner):
    """The ``Groups`` of rows, None for None.

    Raises ``ValueError`` unless each row has one label, all of one kind.
    """
    if groups is None:
        return None
    refuse_name("groups", groups, "the label of a group")
    labels = np.asarray(from_arrow(groups))
    if labels.shape != (n_rows,):
        raise ValueError(
            f"{owner} got groups of shape {labels.shape}, but expected ({n_rows},), "
            "one label for each row of X."
        )
    gaps = gaps_of(labels)
    if gaps.any():
        raise ValueError(
            f"{owner} got groups without a label in row {int(np.argmax(gaps))}; give "
            "each row one, its own where it belongs to no other."
        )
    try:
        return Groups(*numbered(labels))
    except TypeError as error:
        raise ValueError(
            f"{owner} got groups whose labels cannot be compared ({error}), but "
            "expected labels of one kind; pass them as strings."
        ) from error


def labels_of(groups, X, owner):
    """Labels (n,) of the groups that rows of X belong to, None for None."""
    known = read_groups(groups, np.shape(X)[0], owner)
    return None if known is None else known.labels[known.codes]


def gaps_of(labels):
    """Mask (n,) of labels that are none."""
    if labels.dtype.kind in "fcmM":
        return labels != labels
    if labels.dtype.kind != "O":
        return np.zeros(len(labels), dtype=bool)
    return np.array([bool(is_gap(label)) for label in labels], dtype=bool)


def check_served(parts):
    """Raise ``ValueError`` for groups under a trainer that takes rows one by one."""
    if not parts.trainer.fits_groups:
        raise ValueError(
            f"{parts.asked.owner} got groups with trainer={parts.trainer!r}, which "
            "takes rows one by one; use trainer='em', under which a group shares one "
            "expert, or 'two-stage', under which it shares a fold."
        )
    if parts.asked.zero_inflation and not parts.likelihood.discrete:
        raise ValueError(
            f"{parts.asked.owner} got groups with zero_inflation=True and "
            f"likelihood={parts.likelihood!r}, by which all rows of a group would be "
            "zero, or none; leave one of them out, or use likelihood='tweedie'."
        )


def check_constant(parts, given, view, model):
    """Raise ``ValueError`` where the gate reads columns that differ within a group.

    Parameters
    ----------
    parts : ResolvedParts
    given : Given, with groups
    view : View, of the gate
    model : mixture, for the names of columns
    """
    if given.groups is None or not parts.trainer.shares_experts:
        return
    seen, rows = view.whole(given.table), np.flatnonzero(given.weight > 0)
    codes, labels = given.groups
    read = parts.gate.node_gate.columns_read(seen)
    read = range(seen.shape[1]) if read is None else read
    seen, codes = safe_indexing(seen, rows), codes[rows]
    found = _first_difference(seen, codes, read)
    if found is not None:
        column, row = found
        label, name = labels[[codes[row]]], _name(seen, view, model, column)
        raise differing(parts.asked.owner, name, label)


def differing(owner, name, label):
    """The ``GroupsDiffer`` of a column by its name, and a group by its label (1,)."""
    return GroupsDiffer(
        f"{owner} got groups, but column {name!r}, which the gate reads, differs "
        f"within group {label.tolist()[0]!r}; the gate sees each group once: name "
        "columns that are constant within groups in gate_features, or use "
        "gate='constant'."
    )


def _first_difference(seen, codes, read):
    """Column and row of a value that is not that of the first row of its group."""
    _, first, own = np.unique(codes, return_index=True, return_inverse=True)
    first = first[own]
    if sparse.issparse(seen):
        return _sparse_difference(sparse.csr_array(seen), first, read)
    columns = as_columns(seen)
    for column in read:
        values = np.asarray(columns[column])
        if values.dtype.kind not in "biuf":
            values = values.astype(str)
        other = values[first]
        differs = values != other
        if values.dtype.kind == "f":
            differs &= ~(np.isnan(values) & np.isnan(other))
        if differs.any():
            return column, int(np.argmax(differs))
    return None


def _sparse_difference(seen, first, read):
    gap = (seen - seen[first]).tocsc()[:, list(read)]
    gap.eliminate_zeros()
    found = np.flatnonzero(np.diff(gap.indptr))
    if not len(found):
        return None
    return list(read)[found[0]], int(gap.indices[gap.indptr[found[0]]])


def _name(seen, view, model, column):
    """Name of a column of what the gate sees."""
    if is_frame(seen):
        return column_names(seen)[column]
    known = vars(model).get("feature_names_in_")
    if view.transformer is None:
        names = column_names(seen) if known is None else list(known)
        left = [name for name in names if name not in set(view.dropped)]
        return str(left[column])
    try:
        return str(view.transformer.get_feature_names_out(known)[column])
    except (AttributeError, ValueError):
        return f"{column} of gate_features"


class Numbering:
    """Numbers groups of rows that come in batches, where those of a group are
    neighbours.

    Parameters
    ----------
    owner : str, for messages
    remembers : bool, default=True
        Whether it refuses a group that comes back after others, for which it remembers
        8 bytes of each.

    Attributes
    ----------
    n_groups : int, groups so far
    """

    def __init__(self, owner, remembers=True):
        self.owner, self.remembers, self.n_groups = owner, remembers, 0
        self._last, self._known = None, []

    def numbered(self, groups, n_rows):
        """Numbers (n,) of the groups of a batch of rows, which ascend, and labels (n,).

        Raises ``ValueError`` unless each row has a label, beside those like it.
        """
        if groups is None:
            raise ValueError(
                f"{self.owner} got a source with None for groups in a batch, but "
                "expected a label for each row; give them in every batch."
            )
        if self.remembers:
            read_groups(groups, n_rows, self.owner)
        labels = np.asarray(from_arrow(groups))
        begins = np.ones(n_rows, dtype=bool)
        begins[1:] = labels[1:] != labels[:-1]
        if self._last is not None:
            begins[0] = labels[0] != self._last
        self._last = labels[-1]
        codes = self.n_groups - 1 + np.cumsum(begins)
        self.n_groups = int(codes[-1]) + 1
        if self.remembers and begins.any():
            self._remember(labels[begins])
        return codes, labels

    def _remember(self, labels):
        keys = _keys(labels)
        own, first = np.unique(keys, return_index=True)
        again = np.ones(len(keys), dtype=bool)
        again[first] = False
        for known in self._known:
            place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            again |= known[place] == keys
        if again.any():
            label = labels[[np.argmax(again)]].tolist()[0]
            raise ValueError(
                f"{self.owner} got a source in which group {label!r} comes back after "
                "other groups, but expected the rows of a group to stand together; "
                "sort the rows by group."
            )
        # Lists of about equal length become one, so that there are few to look into.
        self._known.append(own)
        while len(self._known) > 1 and len(self._known[-2]) <= len(self._known[-1]):
            later = self._known.pop()
            self._known[-1] = np.sort(np.concatenate([self._known[-1], later]))


def _keys(labels):
    """A number of 64 bits for each label, within this process."""
    if labels.dtype.kind in "biu":
        return labels.astype(np.int64)
    if labels.dtype.kind in "mM":
        return labels.view(np.int64)
    if labels.dtype.kind == "f":
        return (labels.astype(np.float64) + 0.0).view(np.int64)
    # Strings, of which there is one for each group and batch.
    hashes = map(hash, map(str, labels.tolist()))
    return np.fromiter(hashes, dtype=np.int64, count=len(labels))
