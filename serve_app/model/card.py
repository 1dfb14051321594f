"""The model card: everything about a packaged model that is not the model itself."""

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Label = str | int
"""A class as the estimator names it."""

Engine = Literal["onnx", "sklearn"]
Precision = Literal["float32", "float64"]

LARGEST_VALUE = 1e30
"""Largest magnitude of an input value: its products with weights and scales stay finite in single
precision (3.4e38), so no engine meets infinity."""

MODEL_FILE = "model.joblib"
ONNX_FILE = "model.onnx"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# What a card says of inputs, a request can send.
InputValue = Annotated[float, Field(ge=-LARGEST_VALUE, le=LARGEST_VALUE)]
# Names become JSON keys; without quotes, backslashes and control characters every key of a valid
# request is spelled with exactly two quotation marks (see schemas.RequestSchema).
FeatureName = Annotated[str, Field(min_length=1, max_length=200, pattern=r'^[^"\\\x00-\x1f]+$')]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Feature(_Frozen):
    """One input column: its name, unit and the range seen in training."""

    name: FeatureName
    unit: str | None = None
    minimum: InputValue
    maximum: InputValue

    @model_validator(mode="after")
    def _range_is_ordered(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(
                f"feature {self.name!r}: minimum {self.minimum} is above maximum {self.maximum}; "
                "swap them"
            )
        return self


class TrainingData(_Frozen):
    """Identity of the rows that the estimator was fitted on."""

    rows: int
    sha256: Sha256


class Agreement(_Frozen):
    """How far the compiled model agrees with the estimator, over every row compared."""

    precision: Precision
    rows_compared: int
    label_disagreements: int
    max_probability_difference: float
    tolerance: float


class Compilation(_Frozen):
    """Which engine serves the model, and why."""

    engine: Engine
    reason: str
    agreement: Agreement | None = None


class Sample(_Frozen):
    """One request with its recorded answer: warm-up and self-test of every replica."""

    instance: dict[str, InputValue]
    predicted_class: Label
    probabilities: dict[str, float] | None


class ModelCard(_Frozen):
    """What is served: shown at ``GET /model``, and the source of the HTTP schema.

    ``version`` is the first 12 hexadecimal digits of the SHA-256 of all other fields, among them
    the digests of the files: two models share a version only if they are the same bytes.
    """

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1)]
    version: str = ""
    estimator: str
    features: Annotated[tuple[Feature, ...], Field(min_length=1)]
    classes: Annotated[tuple[Label, ...], Field(min_length=2)]
    has_probabilities: bool
    labels_follow_probabilities: bool
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
        if self.sample.predicted_class not in self.classes:
            raise ValueError(f"the sample's class {self.sample.predicted_class!r} is unknown")
        names = list(self.class_names) if self.has_probabilities else None
        given = self.sample.probabilities
        if names != (None if given is None else list(given)):
            raise ValueError(f"the sample's probabilities must be those of {names}, in this order")
        return self

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns, in the order in which the model takes them."""
        return tuple(feature.name for feature in self.features)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes as JSON keys, in the estimator's order."""
        return tuple(map(str, self.classes))

    @property
    def example(self) -> dict[str, float]:
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
