"""A sample of rows that come in batches, by the content of the rows alone."""

import numpy as np
from sklearn.utils import murmurhash3_32

# Multipliers of a mixing step whose every input bit reaches every output bit (Steele,
# Lea, Flood 2014, Fast splittable pseudorandom number generators).
STEP, FIRST, SECOND = (
    np.uint64(own)
    for own in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def row_keys(values):
    """Hashes (n,) of 64 bits of rows (n, p), the same for equal rows."""
    keys = np.zeros(len(values), dtype=np.uint64)
    for column in np.asarray(values).T:
        # Zero has two signs.
        bits = (np.asarray(column, dtype=np.float64) + 0.0).view(np.uint64)
        keys = (keys + STEP) ^ bits
        keys = (keys ^ (keys >> np.uint64(30))) * FIRST
        keys = (keys ^ (keys >> np.uint64(27))) * SECOND
        keys ^= keys >> np.uint64(31)
    return keys


def label_numbers(labels):
    """A number (n, 1) for each label, whichever others there are."""
    if labels.dtype.kind in "biuf":
        return labels.astype(float)[:, None]
    known, codes = np.unique(labels, return_inverse=True)
    hashes = [murmurhash3_32(str(own), positive=True) for own in known]
    return np.array(hashes, dtype=float)[codes, None]


# Rows that are held, for each that is kept in the end.
SPARE = 1.5


class ContentSample:
    """The rows with the smallest hashes of content, in whatever batches they come.

    Equal rows are one row with all their weight, so that a row of weight two counts as
    two rows.

    Parameters
    ----------
    size : int
        Different rows that are kept at most.
    """

    def __init__(self, size):
        self.size, self.n_seen, self.limit, self._held = size, 0, None, []

    @property
    def whole(self):
        """Whether no row was left out so far."""
        return self.limit is None

    @property
    def n_bytes(self):
        """Bytes of the rows that are held."""
        return sum(own.nbytes for batch in self._held for own in batch)

    def add(self, keys, *columns):
        """Take a batch: hashes (n,), weights (n,) and further arrays of rows."""
        number = self.n_seen + np.arange(len(keys))
        self.n_seen += len(keys)
        rows = slice(None) if self.limit is None else keys <= self.limit
        # Copies, for the arrays may be views of more.
        batch = [np.array(own[rows]) for own in (keys, number, *columns)]
        if len(batch[0]):
            self._held.append(batch)
        if sum(len(own[0]) for own in self._held) > SPARE * self.size:
            self._held = [self._pruned()]

    def extended(self, later):
        """The sample of these rows, and of those of a sample that came after them."""
        both = ContentSample(min(self.size, later.size))
        both.n_seen = self.n_seen + later.n_seen
        moved = [[b[0], b[1] + self.n_seen, *b[2:]] for b in later._held]
        both._held = [*self._held, *moved]
        limits = [own.limit for own in (self, later) if own.limit is not None]
        both.limit = min(limits, default=None)
        if both._held:
            both._held = [both._pruned()]
        return both

    def rows(self):
        """Weights and further arrays of the rows, in the order in which they came."""
        self._held = [self._pruned()]
        return self._held[0][2:]

    def _pruned(self):
        """One batch of different rows, of which there are not too many."""
        keys = np.concatenate([own[0] for own in self._held])
        keys, first, place = np.unique(keys, return_index=True, return_inverse=True)
        weight = np.concatenate([own[2] for own in self._held])
        weight = np.bincount(place, weights=weight)
        if len(keys) > self.size:
            first, self.limit = first[: self.size], keys[self.size - 1]
        first = np.sort(first)
        kept, number, _, *columns = self._taken(first)
        return [kept, number, weight[place[first]], *columns]

    def _taken(self, rows):
        """Held rows by ascending number, without a copy of all that are held."""
        edges = np.cumsum([0, *(len(own[0]) for own in self._held)])
        parts = np.split(rows, np.searchsorted(rows, edges[1:-1]))
        pieces = [
            [column[part - start] for column in own]
            for own, part, start in zip(self._held, parts, edges, strict=False)
        ]
        return [np.concatenate(own) for own in zip(*pieces, strict=True)]


class SubjectSample(ContentSample):
    """The same of whole subjects, whose rows come together.

    The last of the further arrays are numbers of the subjects, which ascend; all rows
    of a subject have its hash.  Equal subjects are one with all their weight.

    Parameters
    ----------
    size : int
        Rows that are kept at most, but for a first subject.
    """

    def _pruned(self):
        columns = [np.concatenate(own) for own in zip(*self._held, strict=True)]
        keys, number, weight, *columns = columns
        begins = np.flatnonzero(np.diff(columns[-1], prepend=columns[-1][:1] - 1))
        counts = np.diff(begins, append=len(keys))
        own = np.maximum.reduceat(weight, begins)
        known, first, place = np.unique(
            keys[begins], return_index=True, return_inverse=True
        )
        total = np.bincount(place, weights=own)
        ends = np.cumsum(counts[first])
        if ends[-1] > self.size:
            n_kept = max(int(np.searchsorted(ends, self.size, side="right")), 1)
            first, self.limit = first[:n_kept], known[n_kept - 1]
        taken, ratio = np.zeros(len(begins), dtype=bool), total[place] / own
        taken[first] = True
        rows = np.repeat(taken, counts)
        weight = (weight * np.repeat(ratio, counts))[rows]
        return [keys[rows], number[rows], weight, *(c[rows] for c in columns)]
