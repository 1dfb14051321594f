"""Fitted models as the systems need them, with rows to ask for and their right answers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from serve_app.model.artifact import Artifact
from serve_app.model.card import MODEL_FILE, ModelCard
from serve_app.model.loading import load_predictor
from serve_app.model.predictor import Rows, rows_of
from serve_app.model.tasks import Classification, Label
from serve_app.packaging.package import package_model
from serve_app.packaging.recipes import ESTIMATORS, make_estimator

BATCH_ROWS = 100
"""Rows of a batch, all different."""
ITERATIONS = 300
"""Of boosted models."""
IRIS_COLUMNS = ("sepal_length", "sepal_width", "petal_length", "petal_width")


@dataclass(frozen=True)
class BenchModel:
    """A packaged model."""

    name: str
    """One of `RECIPES`."""
    directory: Path
    frame_model: Path
    """The same estimator fitted on a DataFrame, as the predecessor has it."""
    card: ModelCard
    instances: list[dict[str, Any]]
    """Requests: the card's sample, then rows of the training data; `BATCH_ROWS` of them."""
    answers: list[dict[str, Any]]
    """The estimator's own answers to them, the card's to the sample."""

    @property
    def answer(self) -> dict[str, Any]:
        """The right answer to the sample, as a service of this project gives it."""
        return {**self.answers[0], "model_version": self.card.version}

    @property
    def file(self) -> Path:
        """The estimator, for every system that serves it as it is."""
        return self.directory / MODEL_FILE

    @property
    def takes_frame(self) -> bool:
        """Whether the estimator in `file` takes a DataFrame instead of an array."""
        return self.card.estimator_input == "frame"

    @property
    def classes(self) -> tuple[Label, ...]:
        """The classes, in the order of the probabilities."""
        task = self.card.task
        if not isinstance(task, Classification):
            raise TypeError(f"{self.name} is not a classifier")
        return task.classes

    @property
    def rows(self) -> Rows:
        """The instances as rows for a predictor."""
        return rows_of(self.card.features, [list(each.values()) for each in self.instances])


@dataclass(frozen=True)
class Recipe:
    """How a model is made."""

    text: str
    estimator: Callable[[], Any]
    data: Callable[[], tuple[Any, Any]]
    """Table and target."""
    by_name: bool = False
    """It selects columns by name, so it is fitted on a DataFrame instead of an array."""


def _iris() -> tuple[Any, Any]:
    from sklearn.datasets import load_iris

    iris = load_iris(as_frame=True)
    labels = iris.target_names[iris.target].astype(object)
    return iris.data.set_axis(list(IRIS_COLUMNS), axis=1), labels


def _mixed_table() -> tuple[Any, Any]:
    from bench import engines

    return engines.mixed_table()


def _mixed_pipeline() -> Any:
    from bench import engines

    return engines.mixed_pipeline()


def _numbers() -> tuple[Any, Any]:
    from bench import engines

    return engines.numbers()


def _histogram_boosting() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=ITERATIONS, random_state=0)


def _lightgbm() -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=ITERATIONS, n_jobs=1, verbose=-1)


def _xgboost() -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=ITERATIONS, n_jobs=1)


_LR, _RF = (partial(make_estimator, name) for name in ESTIMATORS)
RECIPES: Mapping[str, Recipe] = {
    "lr": Recipe("Iris: scaler and logistic regression", _LR, _iris),
    "rf": Recipe("Iris: random forest of 100 trees", _RF, _iris),
    "mixed": Recipe(
        "6 numbers with gaps and 4 strings: imputer, scaler, one-hot encoder, logistic regression",
        _mixed_pipeline,
        _mixed_table,
        by_name=True,
    ),
    "hgb": Recipe(
        f"20 numbers: HistGradientBoosting of {ITERATIONS} iterations; one thread everywhere",
        _histogram_boosting,
        _numbers,
    ),
    "lgbm": Recipe(f"20 numbers: LightGBM of {ITERATIONS} iterations", _lightgbm, _numbers),
    "xgb": Recipe(f"20 numbers: XGBoost of {ITERATIONS} iterations", _xgboost, _numbers),
}
"""As they stand in the names of the systems."""
AT_EVERY_LOAD = ("lr", "rf")
"""Models whose systems are measured at each number of connections; the others at one of them."""
SERVED = (*AT_EVERY_LOAD, "mixed", "hgb")
"""Models that are served over HTTP; of the others only the model call is timed."""


def make_models(names: Iterable[str], scratch: Path) -> list[BenchModel]:
    """Fit and package the named `RECIPES` below ``scratch``."""
    from threadpoolctl import threadpool_limits

    # Threads that wait for each other in a loop take minutes where cores are shared.
    with threadpool_limits(limits=1):
        return [_make(name, scratch) for name in names]


def _make(name: str, scratch: Path) -> BenchModel:
    import joblib

    recipe, directory = RECIPES[name], scratch / name
    table, target = recipe.data()
    by_name = recipe.estimator().fit(table, target)
    frame_model = scratch / f"{name}-frame.joblib"
    joblib.dump(by_name, frame_model)
    estimator = by_name if recipe.by_name else recipe.estimator().fit(table.to_numpy(), target)
    card = package_model(
        estimator, directory, name=name, training_data=table, report=lambda _line: None
    )
    instances = [card.example, *_records(table[: BATCH_ROWS - 1])]
    itself = load_predictor(Artifact.open(directory), "sklearn")
    rows = rows_of(card.features, [list(each.values()) for each in instances])
    answers = [card.sample.answer, *card.task.answers(itself.predict(rows))[1:]]
    return BenchModel(name, directory, frame_model, card, instances, answers)


def _records(table: Any) -> list[dict[str, Any]]:
    """Rows as JSON objects, null where a value is missing."""
    values = table.astype(object).where(table.notna(), None)
    records: list[dict[str, Any]] = values.to_dict("records")
    return records
