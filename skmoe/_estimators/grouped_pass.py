"""The first pass over rows of a source that belong to groups."""

import numpy as np

from .._numerics.design import CHUNK_ROWS, block_moments, merged_moments
from .._numerics.sample import SubjectSample, row_keys
from ..engines import TreeSum, recut_whole
from ..trainers._rows import Subjects, numbered_along
from .first_pass import FirstPass
from .subjects import Numbering, differing

# Place of the numbers of groups among what is read of rows.
CODES = 5


class GroupedPass(FirstPass):
    """All that training asks of a source whose rows stand together by group.

    Attributes
    ----------
    differing : dict, label (1,) of a group within which a column differs, by number
    """

    sampled = SubjectSample

    def __init__(self, model, source, likelihood, batches):
        self._begin(model, source, likelihood, batches)
        self.owner, self.n_groups, self.differing = type(model).__name__, 0, {}
        self.standing = Numbering(self.owner)
        self.of_groups = TreeSum(merged_moments)
        blocks = recut_whole(self._counting(), CHUNK_ROWS, CODES)
        for number, block in enumerate(blocks):
            *rows, first, weight = self._taken(*block)
            self._add_moments(number, *rows)
            own = block_moments(rows[0][first], weight)
            self.of_groups.add(number, own)
        self._finish()
        self.subjects_of_columns = self.of_groups.total()
        del self.standing, self.of_groups

    def _groups(self, groups, n_rows):
        return self.standing.numbered(groups, n_rows)

    def _taken(self, X, words, y, weight, sizes, codes, labels):
        self._look(X, y, weight, sizes)
        subjects = Subjects(numbered_along(codes), weight)
        self.n_groups += len(subjects)
        self._compare(X, subjects, labels)
        numbers = [X, self._numbers(y), sizes, subjects.share]
        keys = subjects.total(row_keys(np.column_stack(numbers)))
        own = weight, X, words, y, sizes, codes
        self.sample.add(subjects.spread(keys), *own)
        measured = self.batches.measured(X)
        return measured, y, weight, subjects.first, subjects.weight

    def _compare(self, X, subjects, labels):
        """Note columns that differ within a group."""
        first = subjects.spread(subjects.of(X))
        differs = (first != X) & ~(np.isnan(first) & np.isnan(X))
        for column in np.flatnonzero(differs.any(axis=0)):
            row = np.argmax(differs[:, column])
            self.differing.setdefault(int(column), labels[[row]])

    def check_gate(self, read, names):
        """Raise ``ValueError`` where columns that the gate reads differ within a group.

        ``read`` are their numbers, and ``names`` those of all columns.
        """
        for column in read:
            if column in self.differing:
                raise differing(self.owner, names[column], self.differing[column])
