"""How many bicycles are rented in an hour: XGBoost in a pipeline with a calendar of categories.

The compiled form needs no XGBoost where it is served.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import xgboost
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from examples.command_line import run
from serve_app.model.card import ModelCard
from serve_app.packaging.package import package_model


def hours(count: int = 4_000) -> tuple[pd.DataFrame, pd.Series]:
    """Made hours, and the bicycles that were rented in each."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "hour": random.integers(0, 24, count),
            "weather": random.choice(
                ["clear", "mist", "rain", "snow"], count, p=[0.6, 0.2, 0.15, 0.05]
            ),
            "holiday": random.random(count) < 0.03,
            "temperature": random.normal(15, 9, count),
            "wind": random.gamma(2, 6, count),
        }
    )
    day = np.sin(np.pi * table["hour"] / 24) * 200
    rented = day * (table["weather"] == "clear") + 8 * table["temperature"] - 2 * table["wind"]
    table["wind"] = table["wind"].mask(random.random(count) < 0.1)
    return table, (rented + random.normal(0, 20, count)).clip(0).round()


def example(directory: Path) -> ModelCard:
    """Train and package."""
    table, rented = hours()
    prepared = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["weather"]), remainder="passthrough"
    )
    estimator = make_pipeline(prepared, xgboost.XGBRegressor(n_estimators=300, max_depth=5))
    return package_model(
        estimator.fit(table, rented),
        directory,
        training_data=table,
        features={"temperature": {"unit": "°C"}, "wind": {"unit": "km/h"}},
        targets=["bicycles"],
        name="demand",
    )


if __name__ == "__main__":
    run(example)
