"""Who pays a loan back: missing values that mean something, and a threshold that costs decide.

A loan that is not paid back costs more than one that is not given, so the classifier says
``default`` already from a probability of 0.2 on. The compiled form keeps the threshold.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from examples.command_line import run
from serve_app.model.card import ModelCard
from serve_app.packaging.package import package_model

THRESHOLD = 0.2


def loans(count: int = 3_000) -> tuple[pd.DataFrame, pd.Series]:
    """Made loans, and what became of each."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "amount": random.lognormal(9, 0.6, count).round(2),
            "months": random.choice([12, 24, 36, 60], count),
            "income": random.lognormal(10, 0.5, count).round(2),
            "months_since_default": random.integers(1, 120, count),
            "housing": random.choice(["rent", "own", "free"], count),
            "has_phone": random.random(count) < 0.9,
        }
    )
    risk = table["amount"] / table["income"] + 0.01 * table["months"] + random.normal(0, 0.4, count)
    table["income"] = table["income"].mask(random.random(count) < 0.08)
    # Most people have never failed to pay: there is no such number.
    table["months_since_default"] = table["months_since_default"].mask(random.random(count) < 0.8)
    bad = risk - 0.3 * table["months_since_default"].isna() > risk.quantile(0.8)
    return table, pd.Series(np.where(bad, "default", "paid"))


def example(directory: Path) -> ModelCard:
    """Train and package."""
    table, outcome = loans()
    prepared = make_column_transformer(
        (SimpleImputer(add_indicator=True), ["amount", "income", "months_since_default"]),
        (OrdinalEncoder(), ["housing"]),
        remainder="passthrough",
    )
    forest = RandomForestClassifier(n_estimators=100, max_depth=8, random_state=0)
    estimator = FixedThresholdClassifier(
        make_pipeline(prepared, forest), threshold=THRESHOLD, pos_label="default"
    )
    return package_model(
        estimator.fit(table, outcome), directory, training_data=table, name="credit"
    )


if __name__ == "__main__":
    run(example)
