"""
One additive model, or a mixture of them
========================================

An additive model is a sum of curves, one per column. It cannot say that a column acts one
way here and another way there. A mixture can: the gate picks the regime, and each regime is
a sum of curves again. On the diabetes table of scikit-learn one model is enough, and the
mixture says so itself; on a table with two regimes it is not.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.model_selection import cross_val_score

from skmoe import MoERegressor
from skmoe.inspection import CurveDisplay

patients, progression = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
patients["sex"] = patients["sex"].map({1.0: "one", 2.0: "other"})
chosen = MoERegressor("additive", gate="additive", random_state=0)
chosen.fit(patients, progression)
print(chosen.n_experts_, "expert:", chosen.history_["n_experts"]["reason"])

# %%
# Its curves, with bands of two standard errors. Penalties by evidence make those columns
# flat that the 442 patients say nothing about; they are left out here.
names = ["bmi", "s5", "bp"]
display = CurveDisplay.from_estimator(chosen, patients, names, plot=False)
display.ylabel = "effect on progression (points)"
display.plot()
units = ["body mass index (kg/m²)", "log of serum triglycerides", "blood pressure (mm Hg)"]
axes = [ax for ax in display.figure_.axes if ax.get_visible()]
shown = {panel.feature: ax for panel, ax in zip(display.panels, axes)}
for name, unit in zip(names, units, strict=True):
    shown[name].set_xlabel(unit)
display.figure_.suptitle("Diabetes: one additive model, by evidence")
plt.show()

# %%
# Now a plant whose yield rises with fertiliser in wet years, and falls with it in dry ones.
rng = np.random.default_rng(1)
fields = pd.DataFrame(
    {"rain": rng.uniform(200, 900, 900), "fertiliser": rng.uniform(0, 200, 900)}
)
wet = fields["rain"] > 500
dose = fields["fertiliser"]
grain = 3 + np.where(wet, 3 * np.sqrt(dose / 200), -1.5 * (dose / 200) ** 2)
grain = grain + 0.001 * fields["rain"] + 0.25 * rng.normal(size=900)

scores = {}
for n_experts in (1, 2):
    model = MoERegressor("additive", n_experts, gate="additive", random_state=0)
    scores[n_experts] = cross_val_score(model, fields, grain, cv=3).mean()
print({n: round(float(score), 3) for n, score in scores.items()}, "R² by experts")

# %%
model.fit(fields, grain)
display = CurveDisplay.from_estimator(model, fields, level=True, plot=False)
display.ylabel = "yield (t/ha)"
display.plot()
axes = dict(zip((panel.feature for panel in display.panels), display.figure_.axes))
axes["rain"].set_xlabel("rain (mm per year)")
axes["fertiliser"].set_xlabel("fertiliser (kg/ha)")
display.figure_.suptitle("A mixture of two: fertiliser helps in one regime and harms in the other")
plt.show()
