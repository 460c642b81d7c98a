"""
A small student of a large teacher
==================================

An average of mixtures from several starts is accurate, and slow to ask. A student
learns the teacher's whole distribution, from rows that need no labels: here from many
rows without targets.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_friedman1

from skmoe import MoERegressor
from skmoe.distillation import distill

X, y = make_friedman1(4000, n_features=5, noise=1.0, random_state=0)
labelled, unlabelled, test = np.split(np.arange(4000), [300, 2500])

teacher = MoERegressor(n_experts=4, n_members=8, random_state=0)
teacher.fit(X[labelled], y[labelled])
small = MoERegressor(n_experts=4, random_state=0)
alone = small.fit(X[labelled], y[labelled])
rows = np.concatenate([labelled, unlabelled])
student = distill(teacher, X[rows], small)


def judged(model):
    """RMSE and nats per row on rows not seen."""
    misses = y[test] - model.predict(X[test])
    return np.sqrt(np.mean(misses**2)), model.log_density(X[test], y[test]).mean()


models = {
    f"teacher,\n{teacher.n_experts_} experts": teacher,
    f"student,\n{student.n_experts_} experts": student,
    f"same, alone,\n{alone.n_experts_} experts": alone,
}
found = {name: judged(model) for name, model in models.items()}
for name, (rmse, nats) in found.items():
    print(" ".join(name.split()), f"RMSE {rmse:.3f}, {nats:.3f} nats per row")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
colors = ["#0072b2", "#d55e00", "0.6"]
left.bar(list(found), [own[0] for own in found.values()], color=colors)
left.set(ylabel="RMSE (units of y)", title="Error on rows not seen; the noise has 1")
answers = teacher.predict(X[test]), student.predict(X[test])
right.plot(*answers, ".", markersize=3, color="#d55e00", alpha=0.5)
right.axline((15, 15), slope=1, color="0.4", linestyle="--")
right.set(
    xlabel="teacher's answer (units of y)",
    ylabel="student's answer (units of y)",
    title="The student has seen 2200 rows without targets",
)
plt.show()
