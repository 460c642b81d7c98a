"""Sections on the regimes: in which rows each expert leads, and by which columns."""

from functools import cached_property

import numpy as np
from scipy import sparse

from ..._estimators.shown import CONSTANT_GATE
from .._numbers import in_order, number
from .._regimes import EVERYWHERE, N_REPEATS, telling_columns, told
from .._tables import expert_usage, gate_importance
from .._trees import export_text
from ._parts import Lines, Pictures, Section, Table, Words
from ._pictures import Shares
from ._svg import percent

# Rows by which columns are shuffled, cells of them, and columns beyond which none is.
MOST_SHUFFLED, MOST_CELLS, MOST_COLUMNS = 4_000, 150_000, 300
# Experts of a table.
MOST_LISTED = 60
# Columns along which the gate is drawn, and places of each.
MOST_DRAWN, MOST_PLACES = 3, 24
# Share of gate weights that a column has to move, to be told of.
HARDLY = 5e-4
# Columns that are ranked.
MOST_RANKED = 12
OWN_ERRORS = (
    "Responsible given y: share of the rows that an expert has once y is known. The "
    "last column is what the expert alone has wrong in these, weighted by how far it "
    "is responsible: the root of its mean squared error, or a share of rows. An expert "
    "takes the rows that fit it, so that this is mostly less than the error of the "
    "mixture where the expert leads, which stands in the next section."
)
STACKS = (
    f"{CONSTANT_GATE.capitalize()}. The weights of the experts are the same for every "
    "row, so that no row has an expert of its own."
)
WIDE = (
    "The table is sparse, or has more columns than regimes are told by, so that they "
    "are not put into words."
)


class Telling:
    """What tells the regimes of some rows apart.

    Parameters
    ----------
    given : Given
    """

    def __init__(self, given):
        self.given = given
        n_columns = given.rows.X.shape[1]
        self.is_wide = sparse.issparse(given.rows.X) or n_columns > MOST_COLUMNS
        most = min(MOST_SHUFFLED, MOST_CELLS // n_columns)
        self.rows = given.rows.drawn(max(most, 1), given.rng())
        weight = self.rows.weight
        self.weight = weight / weight.sum()

    @cached_property
    def gate(self):
        """Gate weights (n, K)."""
        return self.given.own.gate_proba(self.rows.X)

    @cached_property
    def importance(self):
        """Columns by how much they move the gate."""
        options = {"n_repeats": N_REPEATS, "random_state": self.given.random_state}
        return gate_importance(self.given.own, self.rows.X, **options)

    @cached_property
    def columns(self):
        """Columns that tell regimes apart, as places."""
        return telling_columns(self.importance, self.rows.X)

    def table(self):
        """The regimes as a dict of columns, without words for a wide table."""
        given, rows = self.given, self.rows
        if not self.is_wide:
            weighted = self.gate * self.weight[:, None]
            return told(given.own, rows.X, weighted, self.columns)
        blank, n_experts = [float("nan")], len(given.keys.names)
        return {
            "regime": ["–"] * n_experts,
            "holds": blank * n_experts,
            "pure": blank * n_experts,
        }


def regime_section(given, telling):
    """The regimes in words, with their loads and means."""
    found, keys = telling.table(), given.keys
    shown = keys.order[:MOST_LISTED]
    rows = [
        [
            keys.names[k],
            found["regime"][k],
            percent(given.load[k]),
            answer_of(given, k),
            percent(found["holds"][k]),
            percent(found["pure"][k]),
        ]
        for k in shown
    ]
    header = ["expert", "regime", "share of rows", "mean answer", "holds", "pure"]
    note = (
        "Each regime is told by the columns that move the gate most, in units of the "
        f"data; “{EVERYWHERE}” where no column tells it apart. Share of rows: mean "
        "gate weight. Mean answer: what the expert predicts where it is asked. Holds: "
        "the part of the expert's weight that lies in the rows of its text. Pure: its "
        "mean weight in these rows."
    )
    parts = [Table(header, rows, shown, 2), Words(note)]
    if len(shown) < len(keys.order):
        parts.append(Words(f"The {len(shown)} of {len(keys.order)} experts with most."))
    if telling.is_wide:
        parts.append(Words(WIDE))
    return Section("Regimes", parts)


def answer_of(given, k):
    """Mean of what an expert predicts where it is asked, or its usual class."""
    share = given.weight * given.gate[:, k]
    mean = np.einsum("n,n...->...", share, given.each[:, k])
    mean = np.atleast_1d(mean) / max(share.sum(), np.finfo(float).tiny)
    if given.own.is_classifier:
        best = int(mean.argmax())
        return f"{given.model.classes_[best]} ({mean[best]:.2f})"
    return ", ".join(map(number, mean))


def serving_section(given, telling):
    """Who serves whom: loads, and gate weights along the columns that matter."""
    parts = [Words(STACKS)] if given.own.only_stacks else []
    parts.append(_usage(given))
    if given.rows.y is not None:
        parts.append(Words(OWN_ERRORS))
    single = len(given.keys.names) == 1 or given.own.only_stacks
    if not telling.is_wide and not single:
        parts += _along(telling)
    if len(given.model.gate_.nodes()) > 1 and given.model.n_members == 1:
        parts += [
            Words(
                "The tree of gates. In brackets: what draws a row to a branch, in "
                "logits per standard deviation of the column."
            ),
            Lines(export_text(given.own)),
        ]
    return Section("Who serves whom", parts)


def _usage(given):
    rows = given.rows
    usage = expert_usage(
        given.own,
        rows.X,
        rows.y,
        sample_weight=rows.weight,
        groups=None if rows.y is None else rows.groups,
        **rows.sizes,
    )
    shown = given.keys.order[:MOST_LISTED]
    columns = {
        "load": ("mean gate weight", percent),
        "top": ("rows that it leads", percent),
        "certainty": ("weight where it leads", percent),
        "responsible": ("responsible given y", percent),
        "error": (
            "share it has wrong" if given.own.is_classifier else "its own error",
            percent if given.own.is_classifier else number,
        ),
    }
    columns = {name: own for name, own in columns.items() if name in usage}
    each = [
        [
            given.keys.names[k],
            *(shape(usage[c][k]) for c, (_, shape) in columns.items()),
        ]
        for k in shown
    ]
    return Table(["expert", *(title for title, _ in columns.values())], each, shown, 1)


def _along(telling):
    importance = telling.importance
    pairs = zip(importance["feature"], importance["importance"], strict=True)
    pairs = [(str(name), own) for name, own in pairs if own > HARDLY]
    if not pairs:
        return [
            Words("No column moves the gate: its weights are the same for all rows.")
        ]
    rows = [[name, percent(own)] for name, own in pairs]
    moving = [name for name, _ in pairs]
    columns = [own for own in telling.columns if own.name in moving][:MOST_DRAWN]
    return [
        Pictures(
            [shares_of(own, telling.gate, telling.weight) for own in columns],
            "Mean gate weights of the rows at each value or range of a column, other "
            "columns as they are in these rows. Point at a bar for its numbers.",
        ),
        Table(["column", "moves the gate"], rows[:MOST_RANKED], bars=1),
        Words("Share of the gate weights that move when the column is shuffled."),
    ]


def shares_of(column, gate, weight):
    """Mean gate weights at the places of a column."""
    size = column.n_places
    mass = np.bincount(column.codes, weight, size)
    sums = [np.bincount(column.codes, weight * own, size) for own in gate.T]
    shares = np.divide(sums, mass, out=np.zeros((len(sums), size)), where=mass > 0).T
    names = _place_names(column)
    kept = [at for at in range(size) if mass[at] > 0]
    # Ends of ranges are told where each of them has rows, and no row a gap.
    edges = column.edges if kept == list(range(size - 1)) else None
    if not column.ordered:
        often = sorted(kept, key=lambda at: -mass[at])[:MOST_PLACES]
        order = in_order(names[:-1])
        kept = sorted(often, key=lambda at: [*order, names[-1]].index(names[at]))
    return Shares(
        column.name, [names[at] for at in kept], shares[kept], mass[kept], edges
    )


def _place_names(column):
    if column.labels is not None:
        return [*map(str, column.labels), "missing"]
    pairs = zip(column.edges[:-1], column.edges[1:], strict=True)
    return [*(f"{low}–{high}" for low, high in pairs), "missing"]
