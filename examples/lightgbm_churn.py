"""Who leaves a telephone company: LightGBM on pandas categories and gaps, without any pipeline.

The compiled form needs no LightGBM where it is served.
"""

from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd

from examples.command_line import run
from serve_app.model.card import ModelCard
from serve_app.packaging.package import package_model


def customers(count: int = 4_000) -> tuple[pd.DataFrame, pd.Series]:
    """Made customers, and whether each has left."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "months": random.integers(1, 72, count),
            "monthly_charge": random.normal(65, 30, count).clip(18),
            "contract": pd.Categorical(random.choice(["monthly", "1 year", "2 years"], count)),
            "payment": pd.Categorical(random.choice(["check", "card", "transfer"], count)),
            "paperless": random.random(count) < 0.6,
        }
    )
    score = (
        0.02 * table["monthly_charge"]
        - 0.04 * table["months"]
        + 1.5 * (table["contract"] == "monthly")
        + random.normal(size=count)
    )
    table["monthly_charge"] = table["monthly_charge"].mask(random.random(count) < 0.05)
    return table, score > score.quantile(0.7)


def example(directory: Path) -> ModelCard:
    """Train and package."""
    table, left = customers()
    estimator = lightgbm.LGBMClassifier(n_estimators=300, num_leaves=15, verbose=-1)
    return package_model(estimator.fit(table, left), directory, training_data=table, name="churn")


if __name__ == "__main__":
    run(example)
