"""
Who serves whom, and how training went
======================================

The pictures that come with the library, of a mixture of two linear experts for the wine
table of scikit-learn: the shares of the experts, the gate along a column, the density
along a column, and the objective of EM.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_wine

from skmoe import MoERegressor
from skmoe.inspection import (
    ConvergenceDisplay,
    ExpertUsageDisplay,
    GateDisplay,
    PredictiveDensityDisplay,
    expert_usage,
    gate_importance,
)

wine = load_wine(as_frame=True).data
# The colour of a wine, from what is cheap to measure.
X, y = wine[["alcohol", "malic_acid", "hue", "proline"]], wine["color_intensity"]
model = MoERegressor("linear", n_experts=2, random_state=0).fit(X, y)
pd.DataFrame(expert_usage(model, X, y)).round(2)

# %%
pd.DataFrame(gate_importance(model, X, random_state=0)).round(3)

# %%
# The objective of EM rises, but for the iterations after which penalties were chosen
# anew: from there on it is another one.
figure, axes = plt.subplots(2, 2, figsize=(11.5, 7.6), layout="constrained")
usage, gate, density, course = axes.ravel()
ExpertUsageDisplay.from_estimator(model, X, y, ax=usage)
usage.set_title("Shares of the experts")
GateDisplay.from_estimator(model, X, "hue", ax=gate)
gate.set(xlabel="hue of the wine", title="The gate along the hue")
PredictiveDensityDisplay.from_estimator(model, X, "alcohol", ax=density)
density.set(
    xlabel="alcohol (% by volume)",
    ylabel="colour intensity",
    title="Density, and its 5, 50, 95 % quantiles",
)
ConvergenceDisplay.from_estimator(model, ax=course)
course.set_title("The objective of EM")
plt.show()
