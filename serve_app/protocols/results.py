"""Tensors of an answer from a prediction, by the names that MLServer gives to scikit-learn's."""

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from serve_app.model.card import ModelCard
from serve_app.model.prediction import Prediction
from serve_app.model.tasks import (
    Classification,
    Label,
    MultiOutput,
    OutlierDetection,
    Regression,
    keys_of,
)
from serve_app.protocols.tensors import (
    BOOL,
    BYTES,
    FP64,
    INT64,
    UINT64,
    Metadata,
    Tensor,
    TensorError,
)

PREDICT, PREDICT_PROBA, DECISION_FUNCTION = "predict", "predict_proba", "decision_function"
KSERVE_DEFAULT = "output-0"
"""KServe's name for what ``predict`` returns."""
INLIER, OUTLIER = 1, -1
"""What scikit-learn's outlier detectors predict."""
INT64_VALUES = range(-(2**63), 2**63)
UINT64_VALUES = range(2**64)


class _Output(NamedTuple):
    """One output of the model."""

    datatype: str
    width: int
    values: Callable[[Prediction], list[Any]]
    """Its elements, flat and row-major."""


Selection = tuple[Callable[[Prediction], Tensor], ...]
"""Outputs that a request asks for."""


class Results:
    """What a model can be asked for.

    ============== ============================== ==========================================
    task           ``predict``                    others
    ============== ============================== ==========================================
    classification label, [rows, 1]               ``predict_proba`` [rows, classes]
    multioutput    labels, [rows, outputs]        ``predict_proba.NAME`` for each output
    regression     FP64 [rows, targets]
    outlier        INT64 [rows, 1], -1 or 1       ``decision_function`` FP64 [rows, 1]
    any other      what the estimator's returns
    ============== ============================== ==========================================

    Labels are BYTES, INT64, UINT64, FP64 or BOOL, as the classes are. Where FP64 would change a
    label, all are BYTES.
    """

    def __init__(self, card: ModelCard) -> None:
        self._makers = {
            name: _maker(name, output) if isinstance(output, _Output) else output
            for name, output in _outputs(card).items()
        }
        sample = card.task.prediction_of(card.sample.answer)
        # Of the recorded answer, so that what is said and what is sent cannot differ.
        self.metadata = tuple(_metadata(make(sample)) for make in self._makers.values())
        self._default = self.selection([PREDICT])

    def selection(self, names: Sequence[str]) -> Selection:
        """See `TensorSchema.selection`."""
        if not names:
            return self._default
        if len(set(names)) < len(names):
            raise TensorError("outputs", "an output is named twice", list(names))
        found = []
        for name in names:
            make = self._kserves if name == KSERVE_DEFAULT else self._makers.get(name)
            if make is None:
                raise TensorError("outputs", f"the model has {', '.join(self._makers)}", name)
            found.append(make)
        return tuple(found)

    @staticmethod
    def tensors(prediction: Prediction, selection: Selection) -> list[Tensor]:
        """See `TensorSchema.results`."""
        return [make(prediction) for make in selection]

    def _kserves(self, prediction: Prediction) -> Tensor:
        return self._makers[PREDICT](prediction)._replace(name=KSERVE_DEFAULT)


def _metadata(tensor: Tensor) -> Metadata:
    return Metadata(
        tensor.name, tensor.datatype, (-1, *tensor.shape[1:]), {"content_type": tensor.content_type}
    )


def _maker(name: str, output: _Output) -> Callable[[Prediction], Tensor]:
    datatype, width, values = output

    def make(prediction: Prediction) -> Tensor:
        shape = (len(prediction.values), width)
        return Tensor(name, datatype, shape, values(prediction), content_type(datatype))

    return make


def content_type(datatype: str) -> str:
    """What MLServer's codecs call an output of ``datatype``."""
    return "str" if datatype == BYTES else "np"


def _outputs(card: ModelCard) -> Mapping[str, _Output | Callable[[Prediction], Tensor]]:
    task = card.task
    if isinstance(task, Classification):
        read = _labels(task.classes)
        outputs = {PREDICT: _Output(read[0], 1, lambda found: read[1](found.values))}
        if task.has_probabilities:
            outputs[PREDICT_PROBA] = _Output(
                FP64, len(task.classes), lambda found: _flat(found.scores or ())
            )
        return outputs
    if isinstance(task, MultiOutput):
        return _several(task)
    if isinstance(task, Regression):
        return {
            PREDICT: _Output(
                FP64, len(task.targets), lambda found: list(map(float, _flat(found.values)))
            )
        }
    if isinstance(task, OutlierDetection):
        outputs = {
            PREDICT: _Output(
                INT64, 1, lambda found: [OUTLIER if each else INLIER for each in found.values]
            )
        }
        if task.has_score:
            outputs[DECISION_FUNCTION] = _Output(
                FP64, 1, lambda found: list(map(float, found.scores or ()))
            )
        return outputs
    return {PREDICT: _anything}


def _several(task: MultiOutput) -> dict[str, _Output]:
    """Outputs of a classifier with several; their classes may differ in number."""
    datatype, read = _labels([label for output in task.outputs for label in output.classes])
    outputs = {
        PREDICT: _Output(
            datatype,
            len(task.outputs),
            lambda found: read(_flat(found.values)),
        )
    }
    if task.has_probabilities:
        for place, output in enumerate(task.outputs):
            outputs[f"{PREDICT_PROBA}.{output.name}"] = _Output(
                FP64, len(output.classes), _probabilities_at(place)
            )
    return outputs


def _probabilities_at(place: int) -> Callable[[Prediction], list[Any]]:
    return lambda found: _flat(row[place] for row in found.scores or ())


def _flat(rows: Iterable[Iterable[Any]]) -> list[Any]:
    """Elements of all rows. Of a few, an array would cost more than all else of an answer."""
    return list(itertools.chain.from_iterable(rows))


def _labels(classes: Sequence[Label]) -> tuple[str, Callable[[list[Any]], list[Any]]]:
    """Datatype of labels, and what makes elements of them."""
    types = {type(label) for label in classes}
    if types == {str}:
        return BYTES, list
    if types == {bool}:
        return BOOL, lambda labels: list(map(bool, labels))
    if types == {int} and all(label in INT64_VALUES for label in classes):
        return INT64, lambda labels: list(map(int, labels))
    if types == {int} and all(label in UINT64_VALUES for label in classes):
        return UINT64, lambda labels: list(map(int, labels))
    if types <= {int, float} and all(map(_is_exact, classes)):
        return FP64, lambda labels: list(map(float, labels))
    return BYTES, lambda labels: list(keys_of(labels))


def _is_exact(number: Any) -> bool:
    """Whether FP64 has this number, and not only one near to it."""
    if type(number) is float:
        return True
    try:
        return bool(float(number) == number)
    except OverflowError:
        return False


def _anything(prediction: Prediction) -> Tensor:
    """Whatever the estimator returns: numbers where all are, else JSON texts."""
    values = prediction.values
    count = len(values)
    types = {type(value) for value in values}
    if types == {str}:
        return Tensor(PREDICT, BYTES, (count, 1), list(values), "str")
    if types in ({bool}, {float}) or (
        types == {int} and all(map(INT64_VALUES.__contains__, values))
    ):
        datatype = {bool: BOOL, int: INT64, float: FP64}[types.pop()]
        return Tensor(PREDICT, datatype, (count, 1), list(values), "np")
    if all(isinstance(value, list) for value in values):
        widths = {len(value) for value in values}
        inner = {type(number) for value in values for number in value}
        if (
            len(widths) == 1
            and inner
            and inner <= {int, float}
            and all(_is_exact(number) for value in values for number in value)
        ):
            numbers = list(map(float, _flat(values)))
            return Tensor(PREDICT, FP64, (count, widths.pop()), numbers, "np")
    return Tensor(PREDICT, BYTES, (count, 1), list(map(json.dumps, values)), "pd_json")
