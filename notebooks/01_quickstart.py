# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From a table of demand to a forecast
#
# What you need is a long table: which item, which day, how much. Here it is the demo table that forecastkit makes by
# itself, 20 items of a shop over 400 days. With a file of your own, the line is
#
# ```python
# panel = fk.read("demand.parquet", known=("price", "promotion", "holiday"), available="available")
# ```

# %%
import numpy as np
import pandas as pd

import forecastkit as fk

panel = fk.read("dataset:demo")
panel

# %% [markdown]
# ## Look at it
#
# `y` is units sold in a day. Price, promotion and holiday are known ahead. `available` is false where the shelf was
# empty or the shop closed; those days are neither learned from as if nobody wanted the item, nor scored.

# %%
table = panel.to_frame()
table.head()

# %%
table.groupby("unique_id").agg(
    days=("y", "size"),
    mean=("y", "mean"),
    zeros=("y", lambda y: (y == 0).mean()),
    on_promotion=("promotion", "mean"),
    off_shelf=("available", lambda on: 1 - on.mean()),
).round(2).head(8)

# %% [markdown]
# ## Which model would have been best?
#
# A backtest goes back in time, hides the last weeks, forecasts them, and does so again from an earlier day. What a
# model sees ends at the cutoff, always. Networks are in the same list: add `"gru"` for a GRU (it needs the extra `torch`
# and takes a minute here).

# %%
report = fk.backtest(panel, ["naive", "seasonal_naive", "window_average", "ets", "sarima"], horizon=28, windows=2)
report.leaderboard().drop(columns="recipe").round(3)

# %% [markdown]
# MASE below 1 is better than seasonal naive was on its own training data. Bias is signed: positive is too much. `wql`
# scores the quantiles, `coverage` is the share of days that fell between the 0.1 and the 0.9 quantile, so 0.8 is best.
#
# Is tomorrow easier than four weeks ahead?

# %%
steps = report.scores(by=["model", "step"])
steps["week"] = (steps["step"] - 1) // 7 + 1
steps.groupby(["model", "week"])["wape"].mean().unstack().round(3)

# %% [markdown]
# ## Fit the winner
#
# A recipe is a value, `fit` returns the fitted model and changes nothing.

# %%
winner = report.leaderboard()["model"][0]
fitted = fk.create(winner).fit(panel, horizon=28)
fitted.recipe

# %% [markdown]
# ## Forecast
#
# The winner uses what is known ahead, so it asks for the plan of the coming weeks. Let us try two: no promotion at all,
# and a discount of 20 % in the second week.

# %%
last = table[table["promotion"] == 0].groupby("unique_id").tail(1)  # with its price, not a discounted one
days = pd.date_range(table["ds"].max() + pd.Timedelta(days=1), periods=28)
plain = last[["unique_id", "price"]].merge(pd.DataFrame({"ds": days}), how="cross").assign(promotion=0, holiday=0)

second_week = plain["ds"].isin(days[7:14])
offer = plain.assign(promotion=second_week * 1, price=plain["price"].where(~second_week, 0.8 * plain["price"]))

levels = (0.1, 0.5, 0.9)
forecast = fitted.predict(28, levels=levels, future=plain)
promoted = fitted.predict(28, levels=levels, future=offer)
forecast.to_frame().head()

# %%
weeks = {"no promotion": forecast, "offer in week 2": promoted}
pd.DataFrame(
    {name: f.mean.sum(axis=0).reshape(4, 7).sum(axis=1) for name, f in weeks.items()}, index=range(1, 5)
).round(0)

# %% [markdown]
# ## See it

# %%
try:
    import matplotlib.pyplot as plt
except ImportError:
    print("pip install matplotlib to see the plot")
else:
    item = int(np.argmax(panel.values.reshape(len(panel), -1).sum(axis=1)))
    past = slice(-70, None)
    figure, axes = plt.subplots(figsize=(10, 3.5))
    axes.plot(panel.times()[panel.rows_of(item)][past], panel.series(item)[past], color="black", label="sold")
    for name, f in weeks.items():
        axes.plot(f.times[item], f.mean[item], label=name)
    low, high = forecast.quantiles[item, :, 0], forecast.quantiles[item, :, -1]
    axes.fill_between(forecast.times[item], low, high, alpha=0.2, label="0.1 to 0.9")
    axes.set(title=f"{panel.ids[item]}, {winner}", ylabel="units a day")
    axes.legend()
    plt.show()

# %% [markdown]
# ## Keep it
#
# A saved model is a folder of plain numbers and JSON, without pickle. It forecasts the same after loading, and `update`
# moves it on to newer sales without estimating again.

# %%
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    fk.save(fitted, Path(folder) / "winner")
    again = fk.load(Path(folder) / "winner")

np.abs(again.predict(28, future=plain).mean - forecast.mean).max()
