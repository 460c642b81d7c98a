"""
Reading the regimes of a mixture
================================

A shop hires out electric scooters. Demand has two regimes that no column names:
commuting on working days, outings on others. A mixture of two additive experts under an
additive gate finds them, and says in words and curves what they are.
"""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skmoe import MoERegressor
from skmoe.inspection import CurveDisplay, curve_importance, explain_text, regimes

rng = np.random.default_rng(0)
n = 1500
hires = pd.DataFrame(
    {
        "hour": rng.integers(0, 24, n),
        "temperature": rng.normal(14, 8, n).round(1),
        "day": rng.choice(
            ["working day", "weekend", "holiday"], n, p=[0.65, 0.28, 0.07]
        ),
    }
)


def bump(center, width):
    """A peak of one around an hour of the day."""
    return np.exp(-(((hires["hour"] - center) / width) ** 2))


commuting = 90 * bump(8, 1.5) + 110 * bump(17.5, 2) + 10
outings = 70 * bump(14, 4) + 2.0 * np.clip(hires["temperature"], 0, 25)
demand = np.where(hires["day"] == "working day", commuting, outings)
demand = demand + 6 * rng.normal(size=n)

# %%
# The table goes in as it is: text, whole numbers and decimals. Penalties of all curves
# are chosen while EM runs, so that there is nothing to search for.
model = MoERegressor("additive", 2, gate="additive", random_state=0)
model.fit(hires, demand)
found = pd.DataFrame(regimes(model, hires)).round(2)
found

# %%
# Each regime has its own curves, in scooters per hour. A line is faint where its expert
# is not asked, and the band is two standard errors.
labels = dict(zip(found["expert"], found["regime"], strict=True))
display = CurveDisplay.from_estimator(
    model, hires, ["hour", "temperature"], labels=labels, level=True, plot=False
)
display.ylabel = "scooters per hour"
display.plot()
display.figure_.legends[0].set_title("What each regime answers along two columns")
for ax, label in zip(
    display.axes_, ["hour of the day", "temperature (°C)"], strict=True
):
    ax.set_xlabel(label)
plt.show()

# %%
# Which columns matter to whom, as standard deviations of their curves over the rows.
pd.DataFrame(curve_importance(model, hires)).round(2)

# %%
# And why a row got its answer.
for text in explain_text(model, hires[:3]):
    print(fill(text, 84), end="\n\n")
