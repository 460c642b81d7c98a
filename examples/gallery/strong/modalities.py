"""
Experts by modality: words and numbers
======================================

A recommender knows what a film's description says, and how the film was watched. One
expert reads the words, one the numbers, and the gate, which sees how long the
description is and how many watched, knows whom to trust: new films have no viewers yet.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline

from skmoe import MoEClassifier

rng = np.random.default_rng(0)
n = 1200
GOOD = ["tender", "clever", "funny", "brilliant", "moving", "fresh"]
BAD = ["slow", "noisy", "clumsy", "dull", "loud", "stale"]
PLAIN = ["film", "story", "city", "night", "family", "war", "music", "road"]
liked = rng.random(n) < 0.5
length = rng.integers(0, 9, n)
viewers = np.where(rng.random(n) < 0.5, rng.integers(0, 4, n), rng.integers(20, 400, n))


def description(likes, words):
    """Words of a film, of which some tell."""
    tells = GOOD if likes else BAD
    kinds = [tells if rng.random() < 0.45 else PLAIN + GOOD + BAD for _ in range(words)]
    return " ".join(rng.choice(kind) for kind in kinds)


films = pd.DataFrame(
    {
        "description": [description(*own) for own in zip(liked, length, strict=True)],
        "viewers": viewers,
        "finished": rng.binomial(viewers, np.where(liked, 0.6, 0.45))
        / np.maximum(viewers, 1),
        "words": length,
    }
)
train, test = np.arange(800), np.arange(800, n)

# %%
# Each expert is a pipeline that takes its own columns; the gate has two.
words = make_pipeline(
    make_column_transformer((TfidfVectorizer(), "description")), LogisticRegression(C=3)
)
numbers = make_pipeline(
    make_column_transformer(("passthrough", ["viewers", "finished"])),
    HistGradientBoostingClassifier(max_iter=40, min_samples_leaf=30),
)
model = MoEClassifier(
    [("words", words), ("numbers", numbers)],
    gate_features=["viewers", "words"],
    trainer="two-stage",
    random_state=0,
).fit(films.iloc[train], liked[train])

models = {
    "words": words.fit(films.iloc[train], liked[train]),
    "numbers": numbers.fit(films.iloc[train], liked[train]),
    "both, gated": model,
}
losses = {
    name: log_loss(liked[test], own.predict_proba(films.iloc[test]))
    for name, own in models.items()
}
print({name: round(own, 3) for name, own in losses.items()}, "nats per film")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.bar(list(losses), list(losses.values()), color=["#e69f00", "#0072b2", "#d55e00"])
left.axhline(np.log(2), color="0.5", linestyle="--")
left.text(2.4, np.log(2), "guessing", ha="right", va="bottom")
left.set(ylabel="log-loss (nats per film)", title="Films not seen")
weight = model.gate_proba(films.iloc[test])[:, 0]
shown = right.scatter(
    films["words"].iloc[test] + rng.uniform(-0.3, 0.3, len(test)),
    films["viewers"].iloc[test] + 1,
    c=weight,
    cmap="cividis",
    s=14,
    vmin=0,
    vmax=1,
)
right.set(
    xlabel="words in the description",
    ylabel="viewers + 1",
    yscale="log",
    title="Whom the gate trusts",
)
figure.colorbar(shown, ax=right, label="weight of the words")
plt.show()
