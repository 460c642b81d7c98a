"""
Credit, for an officer who has to give reasons
==============================================

Who will not pay back? Of applicants with a house debts matter little, of those who rent
much. A classifier with two additive experts finds the two groups, says why an applicant
is refused, and its probabilities can be taken at their word. The table is generated.
"""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skmoe import MoEClassifier
from skmoe.inspection import (
    ClassProbabilityDisplay,
    CurveDisplay,
    ExpertCalibrationDisplay,
    explain_text,
)

rng = np.random.default_rng(0)
n = 3000
applicants = pd.DataFrame(
    {
        "housing": rng.choice(["owns", "rents"], n, p=[0.45, 0.55]),
        "income": rng.gamma(6, 0.55, n).round(2),
        "debts": rng.gamma(2, 6, n).round(1),
        "years": rng.integers(0, 25, n),
    }
)
owns = applicants["housing"] == "owns"
score = np.where(
    owns,
    -2.6 - 0.2 * (applicants["income"] - 3),
    -1.2
    + 0.14 * (applicants["debts"] - 12)
    - 0.9 * np.log1p(applicants["years"])
    + 1.2,
)
fails = np.where(rng.random(n) < 1 / (1 + np.exp(-score)), "fails", "pays")
X_train, X_test, y_train, y_test = train_test_split(applicants, fails, random_state=0)

model = MoEClassifier("additive", 2, gate="additive", random_state=0)
model.fit(X_train, y_train)
trees = HistGradientBoostingClassifier(categorical_features=["housing"], random_state=0)
trees.fit(X_train.astype({"housing": "category"}), y_train)
proba = model.predict_proba(X_test)[:, 0]
rival = trees.predict_proba(X_test.astype({"housing": "category"}))[:, 0]
for name, own in {"mixture": proba, "boosted trees": rival}.items():
    print(f"{name}: {log_loss(y_test == 'fails', own):.3f} nats per applicant")

# %%
# The officer's letter, of the applicant with the highest risk and the one with the
# least.
extremes = X_test.iloc[[int(np.argmax(proba)), int(np.argmin(proba))]]
for text in explain_text(model, extremes):
    print(fill(text, 84), end="\n\n")

# %%
# Is a risk of 20 % one of 20 %? Rows not seen, in ten groups of the same size.
figure, ax = plt.subplots(figsize=(5, 4.4), layout="constrained")
for name, own, color in [
    ("mixture", proba, "#d55e00"),
    ("boosted trees", rival, "#0072b2"),
]:
    happened, said = calibration_curve(
        y_test == "fails", own, n_bins=8, strategy="quantile"
    )
    ax.plot(said, happened, "o-", color=color, label=name)
ax.axline((0, 0), slope=1, color="0.6", linestyle="--")
ax.set(
    xlabel="probability of failing, predicted",
    ylabel="share that failed",
    title="Calibration on applicants not seen",
)
ax.legend()
plt.show()

# %%
# By the expert that leads, and along the debts. Points grow with their applicants.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
ExpertCalibrationDisplay.from_estimator(
    model, X_test, y_test, output="fails", n_bins=5, ax=left
)
left.set(xlabel="probability of failing, predicted", ylabel="share that failed")
ClassProbabilityDisplay.from_estimator(model, X_test, "debts", ax=right)
right.set(xlabel="debts (thousands)", title="What happens, along the debts")
plt.show()

# %%
# The curves, in logits of failing.
display = CurveDisplay.from_estimator(
    model, X_train, ["debts", "years", "income"], output="fails", plot=False
)
display.ylabel = "effect on failing (logits)"
display.plot()
units = {
    "debts": "debts (thousands)",
    "years": "years in work",
    "income": "income (thousands a month)",
}
for ax, panel in zip(display.axes_, display.panels, strict=True):
    ax.set_xlabel(units[panel.feature])
display.figure_.legends[0].set_title("What raises the risk, in either group")
plt.show()
