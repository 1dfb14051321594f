"""What a house costs: gradient boosting on numbers as the California housing data has them.

The answer is ``{"prediction": 2.31}``. The compiled form has the tree's own thresholds.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

from examples.command_line import run
from serve_app.model.card import ModelCard
from serve_app.packaging.package import package_model


def houses(count: int = 4_000) -> tuple[pd.DataFrame, pd.Series]:
    """Made districts, and the median value of a house in each, in 100,000 $."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "median_income": random.lognormal(1.2, 0.4, count),
            "house_age": random.integers(1, 53, count),
            "average_rooms": random.normal(5.4, 1.2, count).clip(1),
            "average_occupancy": random.normal(3, 0.6, count).clip(1),
            "latitude": random.uniform(32.5, 42, count),
            "longitude": random.uniform(-124.3, -114.3, count),
        }
    )
    to_the_coast = np.abs(table["longitude"] + 0.8 * table["latitude"] + 91)
    value = 0.45 * table["median_income"] - 0.12 * to_the_coast - 0.2 * table["average_occupancy"]
    return table, (value + 1.5 + random.normal(0, 0.2, count)).clip(0.15, 5)


def example(directory: Path) -> ModelCard:
    """Train and package."""
    table, value = houses()
    units = {"median_income": "10,000 $", "house_age": "years"}
    return package_model(
        HistGradientBoostingRegressor(max_iter=100, random_state=0).fit(table, value),
        directory,
        training_data=table,
        features={name: {"unit": unit} for name, unit in units.items()},
        targets=["median_value"],
        name="houses",
    )


if __name__ == "__main__":
    run(example)
