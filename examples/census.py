"""Who earns more than 50,000 a year: a table with strings, categories and gaps, as a census has it.

The pipeline is that of scikit-learn's user guide: columns selected by name, imputed, scaled,
one-hot encoded. Requests have the types of the DataFrame; a gap may be null or be left out.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from examples.command_line import run
from serve_app.model.card import ModelCard
from serve_app.packaging.package import package_model

NUMBERS = ["age", "education_years", "hours_per_week", "capital_gain"]
CATEGORIES = ["workclass", "occupation", "marital_status", "sex"]


def people(count: int = 4_000) -> tuple[pd.DataFrame, pd.Series]:
    """Made people, and whether each earns more than 50,000 a year."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": random.integers(17, 91, count),
            "education_years": random.integers(1, 17, count),
            "hours_per_week": random.integers(1, 100, count),
            "capital_gain": np.where(random.random(count) < 0.1, random.lognormal(8, 1, count), 0),
            "workclass": random.choice(
                ["Private", "State-gov", "Self-emp"], count, p=[0.7, 0.1, 0.2]
            ),
            "occupation": random.choice(["Sales", "Tech-support", "Craft-repair", "Exec"], count),
            "marital_status": random.choice(["Married", "Never-married", "Divorced"], count),
            "sex": random.choice(["Female", "Male"], count),
        }
    )
    score = (
        0.03 * table["age"]
        + 0.3 * table["education_years"]
        + 0.02 * table["hours_per_week"]
        + 0.0002 * table["capital_gain"]
        + 1.5 * (table["marital_status"] == "Married")
        + 1.0 * (table["occupation"] == "Exec")
        + random.normal(size=count)
    )
    for column in ("workclass", "occupation", "hours_per_week"):
        table[column] = table[column].mask(random.random(count) < 0.05)
    return table, pd.Series(np.where(score > score.quantile(0.75), ">50K", "<=50K"))


def pipeline() -> Any:
    """Not yet fitted."""
    prepared = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
        (
            make_pipeline(
                SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
            ),
            CATEGORIES,
        ),
    )
    return make_pipeline(prepared, LogisticRegression(max_iter=1000))


def example(directory: Path) -> ModelCard:
    """Train and package."""
    table, income = people()
    return package_model(
        pipeline().fit(table, income),
        directory,
        training_data=table,
        features={"age": {"unit": "years"}, "capital_gain": {"unit": "$"}},
        name="census",
    )


if __name__ == "__main__":
    run(example)
