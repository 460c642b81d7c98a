"""What a hash router makes of a row, whatever holds its values."""

import datetime

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyRegressor

from skmoe import MoERegressor
from skmoe.routers import BalancedHashRouter, HashRouter, MultiHashRouter
from skmoe.trainers import EM

pd = pytest.importorskip("pandas")
pytestmark = [
    pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
ROUTERS = [HashRouter(2), BalancedHashRouter(2), MultiHashRouter(2)]
N_ROWS, N_EXPERTS = 60, 7
RNG = np.random.default_rng(0)
LEVEL = RNG.integers(0, 5, N_ROWS)
SIZE = RNG.normal(size=N_ROWS)
Y = SIZE + LEVEL
UTC = datetime.UTC
WORDS = np.array(["ant", "bee", "Élan", "", "eel"], dtype=object)[LEVEL]
NUMBERS = 100_000_000 + LEVEL
STAMPS = [datetime.datetime(2024, 1 + own, 3, 4, 5, own, 678_901) for own in LEVEL]
DAYS = [own.date() for own in STAMPS]
LATE = [own.replace(tzinfo=UTC) for own in STAMPS]


def with_gaps(values):
    found = np.array(values, dtype=object)
    found[::7] = None
    return found


GAPPED = with_gaps(WORDS)
WHOLE = with_gaps([int(own) for own in LEVEL])
REAL = np.array([np.nan if own is None else own for own in WHOLE], dtype=float)
# The same keys in pandas columns of several types, the first of which training has.
KEYS = {
    "words": [
        WORDS,
        pd.Categorical(WORDS),
        pd.Categorical(WORDS, ["zoo", *sorted(set(WORDS))[::-1]], ordered=True),
        pd.array(WORDS, dtype="string"),
    ],
    "words and gaps": [
        GAPPED,
        pd.Series(GAPPED).fillna(np.nan),
        pd.Categorical(GAPPED),
        pd.array(GAPPED, dtype="string"),
    ],
    "numbers": [
        NUMBERS,
        NUMBERS.astype(float),
        NUMBERS.astype("uint32"),
        NUMBERS.astype(object),
        NUMBERS.astype(str),
        pd.array(NUMBERS, dtype="Int64"),
        pd.Categorical(NUMBERS),
        pd.Categorical(NUMBERS.astype(str)),
    ],
    "numbers and gaps": [
        WHOLE,
        REAL,
        REAL.astype("float32"),
        pd.array(REAL, dtype="Int8"),
        pd.Categorical(REAL),
    ],
    "truths": [
        LEVEL > 2,
        (LEVEL > 2).astype(object),
        (LEVEL > 2) * 1,
        pd.array(LEVEL > 2, dtype="boolean"),
        pd.Categorical(LEVEL > 2),
    ],
    "days": [
        DAYS,
        pd.to_datetime(DAYS),
        np.array(DAYS, dtype="datetime64[s]"),
        [str(own) for own in DAYS],
        pd.Categorical(DAYS),
        pd.to_datetime(DAYS).to_period("D"),
    ],
    "times": [
        STAMPS,
        pd.to_datetime(STAMPS),
        np.array(STAMPS, dtype="datetime64[us]"),
        [own.isoformat() for own in STAMPS],
        pd.Series(STAMPS, dtype=object),
        pd.Categorical(STAMPS),
        pd.to_datetime(LATE),
        pd.to_datetime(LATE).tz_convert("Asia/Tokyo"),
    ],
    "durations": [
        [datetime.timedelta(hours=int(own)) for own in LEVEL],
        pd.to_timedelta(LEVEL, unit="h"),
        pd.Series(pd.to_timedelta(LEVEL, unit="h"), dtype=object),
    ],
}


def table(keys):
    return pd.DataFrame({"size": SIZE, "key": keys})


def hashed(router):
    """A mixture that goes by the column ``key`` alone."""
    return MoERegressor(
        DummyRegressor(),
        n_experts=N_EXPERTS,
        trainer=EM(max_refits=1, min_load=0.0),
        router=clone(router),
        gate="constant",
        gate_features=["key"],
        expert_features=["size"],
        random_state=0,
    )


# What repeats others is for --thorough.
FIRST = [(name, ROUTERS[0]) for name in ("words and gaps", "numbers", "days", "times")]
FIRST += [("words", router) for router in ROUTERS[1:]]
BOTH = [
    pytest.param(
        name,
        router,
        id=f"{name}-{router!r}",
        marks=() if (name, router) in FIRST else pytest.mark.thorough,
    )
    for name in KEYS
    for router in ROUTERS
]


@pytest.mark.parametrize(("name", "router"), BOTH)
def test_a_key_is_the_same_in_columns_of_any_type(name, router):
    first, *others = KEYS[name]
    model = hashed(router).fit(table(first), Y)
    own = model.route(table(first)).indices
    places = {}
    for key, row in zip(map(str, first), own.tolist(), strict=True):
        assert places.setdefault(key, row) == row
    assert len({*map(tuple, places.values())}) > 0.5 * len(places) - 1
    for keys in others:
        again = hashed(router).fit(table(keys), Y)
        np.testing.assert_array_equal(again.route(table(keys)).indices, own)
        for i in (0, 7):
            alone = again.route(table(keys)[i : i + 1]).indices
            np.testing.assert_array_equal(alone, own[i : i + 1])


@pytest.mark.parametrize("name", ["words", "words and gaps", "days", "numbers"])
def test_a_key_is_the_same_in_other_libraries(name):
    pl = pytest.importorskip("polars")
    pa = pytest.importorskip("pyarrow")
    first, *_ = KEYS[name]
    keys = [None if own is None else own for own in np.asarray(first).tolist()]
    own = hashed(HashRouter(2)).fit(table(first), Y).route(table(first)).indices
    frame = pl.DataFrame({"size": SIZE, "key": keys})
    others = [frame, pa.table({"size": SIZE, "key": keys})]
    if name.startswith("words"):
        others.append(frame.with_columns(pl.col("key").cast(pl.Categorical)))
    for other in others:
        model = hashed(HashRouter(2)).fit(other, Y)
        np.testing.assert_array_equal(model.route(other).indices, own)


@pytest.mark.parametrize("router", ROUTERS, ids=repr)
def test_unknown_levels_and_gaps_have_experts_of_their_own(router):
    model = hashed(router).fit(table(WORDS), Y)
    new = ["yak", "zebra", "yak", None, np.nan]
    rows = pd.DataFrame({"size": 0.0, "key": new})
    own = model.route(rows).indices
    np.testing.assert_array_equal(own[0], own[2])
    np.testing.assert_array_equal(own[3], own[4])
    for i in range(len(rows)):
        np.testing.assert_array_equal(model.route(rows[i : i + 1]).indices, own[[i]])
    # As a level of a category, among levels that training had or not.
    for levels in (["yak", "zebra"], [*sorted(set(WORDS)), "zebra", "yak"]):
        typed = rows.assign(key=pd.Categorical(new, levels))
        np.testing.assert_array_equal(model.route(typed).indices, own)
    # Where training had gaps, these are known as other levels are.
    known = hashed(router).fit(table(GAPPED), Y).route(table(GAPPED)).indices
    gaps = known[::7]
    assert (gaps == gaps[0]).all()


def test_keys_are_the_same_in_any_process():
    """Values of the first version: a change would send rows to other experts."""
    X = np.array([["ant", 100_000_001, datetime.date(2024, 1, 2), None]] * 2)
    X[1, 0] = "bee"
    own = HashRouter(2).route(np.zeros((2, 7)), X=X).indices
    assert own.tolist() == GOLDEN


GOLDEN = [[1, 0], [3, 6]]


def test_whole_numbers_do_not_meet_their_neighbours():
    """Of customers, say, whose numbers are beyond what single precision tells apart."""
    numbers = 2.0**40 + np.arange(1000.0)
    load = HashRouter().route(np.zeros((1000, 4)), X=numbers[:, None]).load
    assert load.max() < 1.3 * load.mean()
    halves = np.array([[0.1], [np.float32(0.1)]])
    indices = HashRouter().route(np.zeros((2, 64)), X=halves).indices
    assert indices[0] == indices[1]
    huge = np.array([[10**400], [10**400], ["word"]], dtype=object)
    indices = HashRouter().route(np.zeros((3, 64)), X=huge).indices
    assert indices[0] == indices[1]


def test_bytes_are_their_text():
    words = np.array([["ant"], ["bee"], ["eel"]])
    text, raw = (
        HashRouter().route(np.zeros((3, 64)), X=own).indices
        for own in (words, words.astype("S3"))
    )
    np.testing.assert_array_equal(text, raw)
