"""
One additive model, or a mixture of them
========================================

An additive model is a sum of curves, one per column. It cannot say that a column acts
one way here and another way there. A mixture can: the gate picks the regime, and each
regime is a sum of curves again. Held-out rows say how many regimes pay.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

from skmoe import MoERegressor
from skmoe.inspection import CurveDisplay

patients, progression = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
patients["sex"] = patients["sex"].map({1.0: "one", 2.0: "other"})
one = MoERegressor("additive", 1, random_state=0).fit(patients, progression)

# %%
# Diabetes of 442 patients, as scikit-learn has it. Bands are two standard errors.
# Penalties by evidence make those columns flat that the rows say nothing about.
names = ["bmi", "s5", "bp"]
display = CurveDisplay.from_estimator(one, patients, names, plot=False)
display.ylabel = "effect on progression (points)"
display.plot()
units = [
    "body mass index (kg/m²)",
    "log of serum triglycerides",
    "blood pressure (mm Hg)",
]
panels = zip(display.panels, display.axes_, strict=True)
shown = {panel.feature: ax for panel, ax in panels}
for name, unit in zip(names, units, strict=True):
    shown[name].set_xlabel(unit)
display.figure_.legends[0].set_title("Diabetes: one additive model")
plt.show()

# %%
# Now a plant whose yield rises with fertiliser in wet years, and falls with it in dry
# ones.
rng = np.random.default_rng(1)
fields = pd.DataFrame(
    {"rain": rng.uniform(200, 900, 900), "fertiliser": rng.uniform(0, 200, 900)}
)
wet = fields["rain"] > 500
dose = fields["fertiliser"]
grain = 3 + np.where(wet, 3 * np.sqrt(dose / 200), -1.5 * (dose / 200) ** 2)
grain = grain + 0.001 * fields["rain"] + 0.25 * rng.normal(size=900)

fit, rest = fields[:600], fields[600:]
models = {}
for n_experts in (1, 2):
    models[n_experts] = MoERegressor(
        "additive", n_experts, gate="additive", random_state=0
    ).fit(fit, grain[:600])
    print(f"R² of {n_experts}: {models[n_experts].score(rest, grain[600:]):.3f}")

# %%
display = CurveDisplay.from_estimator(models[2], fit, level=True, plot=False)
display.ylabel = "yield (t/ha)"
display.plot()
panels = zip(display.panels, display.axes_, strict=True)
axes = {panel.feature: ax for panel, ax in panels}
axes["rain"].set_xlabel("rain (mm per year)")
axes["fertiliser"].set_xlabel("fertiliser (kg/ha)")
title = "A mixture of two: fertiliser helps in one regime, and harms in the other"
display.figure_.legends[0].set_title(title)
plt.show()
