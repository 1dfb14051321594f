"""The model card: everything about a packaged model that is not the model itself."""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from serve_app.errors import first_error
from serve_app.model.comparison import Tolerances
from serve_app.model.features import Feature
from serve_app.model.frozen import Frozen
from serve_app.model.instances import instance_adapter
from serve_app.model.tasks import Task
from serve_app.model.values import Value

Engine = Literal["onnx", "sklearn"]
Precision = Literal["float32", "float64"]
EstimatorInput = Literal["array", "column", "frame"]
"""What the estimator itself takes: an array of shape [rows, features]; the values of its only
column, shape [rows], as vectorisers of texts do; or a pandas DataFrame with the columns by name."""

MODEL_FILE = "model.joblib"
ONNX_FILE = "model.onnx"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class TrainingData(Frozen):
    """Identity of the rows that the estimator was fitted on."""

    rows: int
    sha256: Sha256


class Coverage(Frozen):
    """How much of the model's behaviour a comparison reached."""

    training_rows: Count = 0
    """Rows compared that are rows of the training data."""
    distinct_rows: Count = 0
    varying_features: Share = 0.0
    """Share of the features that have more than one value in the rows compared."""
    thresholds_probed: Count = 0
    thresholds: Count = 0
    """Tree thresholds with rows at and on both sides of them, of all that the model has."""
    boundary_pairs: Count = 0
    """Pairs of rows on both sides of a decision boundary."""


class Agreement(Frozen):
    """How far the compiled model agrees with the estimator, over every row compared."""

    precision: Precision
    rows_compared: Count
    disagreements: Count
    """Rows with another answer: another value, or a number beyond the tolerances."""
    largest_difference: float
    """Largest absolute difference of any number in the answers."""
    tolerance: float
    relative_tolerance: float = 0.0
    """A number agrees within ``tolerance + relative_tolerance * |expected|``."""
    coverage: Coverage = Coverage()

    @property
    def tolerances(self) -> Tolerances:
        """Both tolerances."""
        return Tolerances(self.tolerance, self.relative_tolerance)


class Compilation(Frozen):
    """Which engine serves the model, and why."""

    engine: Engine
    reason: str
    agreement: Agreement | None = None
    route: str | None = None
    """How the compiled model was made, such as ``tree ensemble``."""


class Sample(Frozen):
    """One request with its recorded answer: warm-up and self-test of every replica."""

    instance: dict[str, Value | None]
    answer: dict[str, Any]
    """What the task's ``answer`` returned."""


class ModelCard(Frozen):
    """What is served: shown at ``GET /model``, and the source of the HTTP schema.

    ``version`` is the first 12 hexadecimal digits of the SHA-256 of all other fields, among them
    the digests of the files: two models share a version only if they are the same bytes.
    """

    schema_version: Literal[2] = 2
    name: Annotated[str, Field(min_length=1)]
    version: str = ""
    estimator: str
    estimator_input: EstimatorInput = "array"
    fitted_with: str | None = None
    """Version of scikit-learn that fitted the estimator, if it says so; ``libraries`` has the one
    that packaged it."""
    features: Annotated[tuple[Feature, ...], Field(min_length=1)]
    task: Task
    metrics: dict[str, float]
    training_data: TrainingData | None
    libraries: dict[str, str]
    compilation: Compilation
    files: dict[str, Sha256]
    sample: Sample

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = self.feature_names
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"feature names must be unique; repeated: {', '.join(repeated)}")
        return self

    @model_validator(mode="after")
    def _sample_fits(self) -> Self:
        if set(self.sample.instance) != set(self.feature_names):
            raise ValueError("the sample's instance must have every feature and no other")
        try:
            # A replica answers its sample: it must be a valid request.
            instance_adapter(self.features).validate_python(self.sample.instance)
        except ValidationError as error:
            raise ValueError(f"the sample's instance: {first_error(error)}") from error
        try:
            self.task.prediction_of(self.sample.answer)
        except ValueError as error:
            raise ValueError(f"the sample's answer has {error}") from error
        return self

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns, in the order in which the model takes them."""
        return tuple(feature.name for feature in self.features)

    @property
    def example(self) -> dict[str, Any]:
        """The sample as a request, its keys in the order of the features."""
        return {name: self.sample.instance[name] for name in self.feature_names}

    def content_version(self) -> str:
        """Version that the content of this card implies."""
        content = self.model_dump(mode="json", exclude={"version"})
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def versioned(self) -> Self:
        """Copy of this card that carries its own content version."""
        return self.model_copy(update={"version": self.content_version()})
