"""Models over tables of mixed columns, and of every task, as model directories."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from serve_app.model.artifact import Artifact, write_artifact
from serve_app.model.card import MODEL_FILE, Compilation, EstimatorInput, ModelCard, Sample
from serve_app.model.features import Category, Feature
from serve_app.model.instances import instance_adapter
from serve_app.model.predictor import rows_of
from serve_app.model.sklearn_predictor import SklearnPredictor
from serve_app.model.tasks import Classification, Task


def categories(*values: Any) -> tuple[Category, ...]:
    """Known values of a category, of unknown frequency."""
    return tuple(Category(value=value) for value in values)


MIXED = (
    Feature(name="age", kind="integer", minimum=18, maximum=80, nullable=True, unit="years"),
    Feature(name="income", minimum=0, maximum=9e4, nullable=True),
    Feature(name="member", kind="boolean"),
    Feature(name="plan", kind="category", categories=categories("basic", "pro"), nullable=True),
    Feature(name="region", kind="category", categories=categories("n", "s"), unseen_allowed=False),
    Feature(name="code", kind="category", categories=categories(1, 2.5), unseen_allowed=False),
    Feature(name="note", kind="text", description="What the agent wrote"),
    Feature(
        name="since",
        kind="datetime",
        earliest="2020-01-01",
        latest="2025-12-31T23:59:59",
        nullable=True,
    ),
)
"""One column of each kind."""

INSTANCE: dict[str, Any] = {
    "age": 40,
    "income": 52_000.5,
    "member": True,
    "plan": "pro",
    "region": "n",
    "code": 2.5,
    "note": "called twice",
    "since": "2024-02-29T12:30:00",
}
"""A row of `MIXED`."""


def day_of_month(frame: Any) -> Any:
    """Day of the month of each datetime, -1 where it is missing; shape [rows, columns]."""
    return np.column_stack([frame[name].dt.day.fillna(-1) for name in frame])


def mixed_table(rows: int = 300) -> Any:
    """Rows of `MIXED` as a DataFrame, with gaps."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": random.integers(18, 80, rows).astype(float),
            "income": random.uniform(0, 9e4, rows),
            "member": random.random(rows) < 0.5,
            "plan": random.choice(["basic", "pro"], rows).astype(object),
            "region": random.choice(["n", "s"], rows).astype(object),
            "code": random.choice([1.0, 2.5], rows),
            "note": random.choice(["called twice", "paid", "paid late"], rows).astype(object),
            "since": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(random.integers(0, 2000, rows), unit="D"),
        }
    ).astype({"since": "datetime64[ns]"})
    for name in ("age", "income", "plan", "since"):
        table.loc[random.random(rows) < 0.1, name] = None
    return table


def mixed_estimator() -> Any:
    """A classifier that takes each column of `mixed_table` by its name."""
    table = mixed_table()
    pipeline = make_pipeline(
        make_column_transformer(
            (SimpleImputer(), ["age", "income"]),
            ("passthrough", ["member"]),
            (OneHotEncoder(handle_unknown="ignore"), ["plan"]),
            (OneHotEncoder(), ["region", "code"]),
            (TfidfVectorizer(), "note"),
            (FunctionTransformer(day_of_month), ["since"]),
        ),
        FunctionTransformer(np.asarray),
        LogisticRegression(max_iter=5000),
    )
    return pipeline.fit(table, (table.region == "n") & table.member)


MIXED_TASK = Classification(
    classes=(False, True), has_probabilities=True, labels_follow_probabilities=True
)


@dataclass(frozen=True)
class Model:
    """An estimator and what its card says of it."""

    estimator: Any
    task: Task
    features: Sequence[Feature]
    instance: dict[str, Any]
    estimator_input: EstimatorInput = "array"

    @property
    def predictor(self) -> SklearnPredictor:
        """The estimator as it is served."""
        return SklearnPredictor(self.estimator, self.task, self.features, self.estimator_input)

    def rows(self, *instances: dict[str, Any]) -> Any:
        """Valid instances as rows."""
        adapter = instance_adapter(self.features)
        return rows_of(
            self.features, [list(adapter.validate_python(each).values()) for each in instances]
        )

    def write(self, directory: Path, **fields: Any) -> Artifact:
        """A model directory for engine sklearn; ``fields`` replace those of the card."""
        prediction = self.predictor.predict(self.rows(self.instance))
        libraries = ("scikit-learn", "numpy", "pandas")
        card = ModelCard(
            name="mixed",
            estimator=type(self.estimator).__name__,
            estimator_input=self.estimator_input,
            features=tuple(self.features),
            task=self.task,
            metrics={},
            training_data=None,
            libraries={name: metadata.version(name) for name in libraries},
            compilation=Compilation(engine="sklearn", reason="not compiled"),
            files={},
            sample=Sample(instance=self.instance, answer=self.task.answers(prediction)[0]),
        ).model_copy(update=fields)
        buffer = io.BytesIO()
        joblib.dump(self.estimator, buffer)
        write_artifact(directory, card, {MODEL_FILE: buffer.getvalue()})
        return Artifact.open(directory)


def mixed_model() -> Model:
    """The classifier over `MIXED`."""
    return Model(mixed_estimator(), MIXED_TASK, MIXED, INSTANCE, "frame")
