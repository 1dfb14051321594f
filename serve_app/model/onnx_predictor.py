"""A compiled model in ONNX Runtime."""

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from serve_app.model.card import CompiledInputs, Engine, Precision
from serve_app.model.features import MISSING_TEXT, Feature
from serve_app.model.prediction import Prediction
from serve_app.model.predictor import Rows, finite, is_missing, most_probable
from serve_app.model.tasks import (
    Classification,
    Label,
    MultiOutput,
    OutlierDetection,
    PlainPrediction,
    Regression,
    Task,
)
from serve_app.model.text import TermCounter

TENSORS: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}
"""Types of tensors, as ONNX Runtime names them, and of the arrays that hold them."""
NUMBERS = ("tensor(float)", "tensor(double)", "seq(tensor(float))", "seq(tensor(double))")
"""Types of outputs with probabilities, scores and regression targets; all others are labels."""
BINDABLE = frozenset(TENSORS) - {"tensor(string)"}
"""Types of outputs whose memory can be reused."""

POSITIONS = "positions"
"""Name of an output with positions in the classes, instead of the classes themselves."""
COUNTERS = "counters"
"""Key of a model's metadata: which terms of a text column the model takes the counts of, as JSON.
The number of an entry is that of the input, see `counts_name`."""
VOCABULARIES = "vocabularies"
"""Key of a model's metadata: for positions of columns of a matrix the values whose codes, from 0
on, the model takes, as JSON. A missing value is NaN as in every column."""
UNSEEN = -1.0
"""Code of a value that is in no vocabulary."""

MANY_TERMS = 1_000
"""Terms of texts above which the counts of one row fit the cache of a processor, and those of many
do not: several times faster one by one."""

Read = Callable[[list[Any], list[Any]], Prediction]
"""Makes a prediction of the labels and the numbers that a model returned."""


class OnnxPredictor:
    """A compiled model: one thread, synchronous, no pickle; not thread-safe.

    Outputs are told apart by their types: floating point is probabilities, scores or regression
    targets, anything else is labels, or positions in the classes if it is named `POSITIONS`. A
    classifier without labels answers the most probable class.
    """

    engine: Engine = "onnx"

    def __init__(
        self,
        model: bytes,
        *,
        precision: Precision,
        inputs: CompiledInputs,
        features: Sequence[Feature],
        task: Task,
    ) -> None:
        """Load a model.

        Args:
            model: serialised ONNX model.
            precision: type of the input ``rows`` of a model with ``inputs`` "matrix".
            inputs: one input of shape [rows, features], strings as codes of the model's
                `VOCABULARIES`, and the counts of texts, see `COUNTERS`; or one for each column,
                named as the feature, of shape [rows, 1] or [rows], of any type in `TENSORS`.
            features: columns of the rows.
            task: what the model predicts.

        Raises:
            ValueError: the inputs do not fit the features, or an output is no array.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # A replica has one CPU: a thread pool would add context switches and busy waiting.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # For tensors of a few hundred bytes an arena costs more than malloc.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        outputs = session.get_outputs()
        for output in outputs:
            if output.type not in TENSORS and output.type not in NUMBERS:
                raise ValueError(f"output {output.name!r} is a {output.type}, which is no array")
        labels = [output for output in outputs if output.type not in NUMBERS]
        numbers = [output for output in outputs if output.type in NUMBERS]
        self._run = functools.partial(session.run, [output.name for output in (*labels, *numbers)])
        self._labels = len(labels)
        self._read = _reading(task, labels)
        self._one_by_one = False
        self._predict_one: Callable[[Rows], Prediction] = self._predict_rows
        if inputs == "columns":
            columns = _Columns(session.get_inputs(), features)
            self._feed = columns.feed
            self._predict_one = lambda rows: self._answer(columns.feed_one(rows))
            return
        matrix = _Matrix(session, np.dtype(precision), features)
        self._feed = matrix.feed
        self._one_by_one = matrix.terms > MANY_TERMS
        if all(output.type in BINDABLE for output in outputs):
            self._predict_one = self._bound(session, matrix)

    def predict(self, rows: Rows) -> Prediction:
        """See `Predictor.predict`."""
        if len(rows) == 1:
            return self._predict_one(rows)
        if not self._one_by_one:
            return self._predict_rows(rows)
        found = [self._predict_one(row[np.newaxis]) for row in rows]
        scores = None if found[0].scores is None else [(each.scores or [])[0] for each in found]
        return Prediction([each.values[0] for each in found], scores)

    def _predict_rows(self, rows: Rows) -> Prediction:
        return self._answer(self._feed(rows))

    def _answer(self, feed: dict[str, Any]) -> Prediction:
        found = self._run(feed)
        return self._read(found[: self._labels], found[self._labels :])

    def _bound(self, session: Any, matrix: "_Matrix") -> Callable[[Rows], Prediction]:
        """A model call for one row that reuses its tensors, which halves its time."""
        from onnxruntime import OrtValue

        # The graph does not always tell the shapes and types of its outputs; a call does.
        answers = self._run(matrix.one_row)
        binding = session.io_binding()
        for name, tensor in matrix.one_row.items():
            binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(tensor))
        for name, answer in zip(self._run.args[0], answers, strict=True):
            binding.bind_ortvalue_output(name, OrtValue.ortvalue_from_numpy(answer))
        run, read, fill = session.run_with_iobinding, self._read, matrix.fill
        labels, numbers = answers[: self._labels], answers[self._labels :]

        def predict(rows: Rows) -> Prediction:
            fill(rows)
            run(binding)
            return read(labels, numbers)

        return predict


def counts_name(number: int) -> str:
    """Name of the input with the counts of an entry of `COUNTERS`, shape [rows, terms]."""
    return f"counts_{number}"


class _Matrix:
    """Feeds a model that has one input for all columns but texts."""

    def __init__(self, session: Any, dtype: Any, features: Sequence[Feature]) -> None:
        facts = session.get_modelmeta().custom_metadata_map
        self._dtype = dtype
        self._row = np.zeros((1, len(features)), dtype)
        self._texts = [
            _Counts(number, **entry)
            for number, entry in enumerate(json.loads(facts.get(COUNTERS, "[]")))
        ]
        texts = {text.name for text in self._texts}
        names = [each.name for each in session.get_inputs() if each.name not in texts]
        self._name: str | None = names[0] if names else None
        self._codes = [
            (int(position), {value: float(code) for code, value in enumerate(values)})
            for position, values in json.loads(facts.get(VOCABULARIES, "{}")).items()
        ]
        for _, codes in self._codes:
            codes[None] = np.nan
        described = {position for position, _ in self._codes} | {
            text.feature for text in self._texts
        }
        for position, feature in enumerate(features):
            if not feature.is_numeric and position not in described:
                raise ValueError(f"a matrix without codes for feature {feature.name!r}")
        self.terms = sum(text.one_row.shape[1] for text in self._texts)
        """Terms of all text columns."""
        self.one_row: dict[str, Any] = {self._name: self._row} if self._name else {}
        """The inputs of one row; their memory is reused."""
        self.one_row |= {text.name: text.one_row for text in self._texts}
        self.fill = self._fill_numbers
        self.feed = self._feed_numbers
        if described:
            self.fill, self.feed = self._fill_typed, self._feed_typed

    def _fill_numbers(self, rows: Rows) -> None:
        """Copy one row into `one_row`."""
        self._row[:] = rows

    def _feed_numbers(self, rows: Rows) -> dict[str, Any]:
        """The inputs of some rows."""
        return dict.fromkeys(self.one_row, rows.astype(self._dtype))

    def _fill_typed(self, rows: Rows) -> None:
        row = rows[0].tolist()
        for text in self._texts:
            text.fill(row[text.feature])
        if self._name:
            for position, codes in self._codes:
                row[position] = codes.get(row[position], UNSEEN)
            for text in self._texts:
                row[text.feature] = 0
            self._row[0] = row

    def _feed_typed(self, rows: Rows) -> dict[str, Any]:
        feed = {text.name: text.feed(rows) for text in self._texts}
        if self._name:
            coded = rows.copy()
            for position, codes in self._codes:
                column = rows[:, position].tolist()
                coded[:, position] = [codes.get(value, UNSEEN) for value in column]
            for text in self._texts:
                coded[:, text.feature] = 0
            feed[self._name] = coded.astype(self._dtype)
        return feed


class _Counts:
    """The counts of the terms of a text column."""

    def __init__(self, number: int, *, feature: int, counter: Any) -> None:
        known = TermCounter.model_validate(counter)
        self.name = counts_name(number)
        self.feature = feature
        self.one_row = np.zeros((1, len(known.terms)))
        self._positions = known.positions()

    def fill(self, text: str) -> None:
        """Count into `one_row`."""
        self.one_row[:] = 0
        self._count(text, self.one_row[0])

    def feed(self, rows: Rows) -> Any:
        """Counts of some rows."""
        counts = np.zeros((len(rows), self.one_row.shape[1]))
        for text, row in zip(rows[:, self.feature].tolist(), counts, strict=True):
            self._count(text, row)
        return counts

    def _count(self, text: str, row: Any) -> None:
        for position in self._positions(text):
            row[position] += 1


class _Columns:
    """Feeds a model that has one input for each column."""

    def __init__(self, inputs: Sequence[Any], features: Sequence[Feature]) -> None:
        positions = {feature.name: position for position, feature in enumerate(features)}
        unknown = [each.name for each in inputs if each.name not in positions]
        if unknown:
            raise ValueError(f"inputs that are no features: {', '.join(unknown)}")
        # A column that the model ignores may have no input.
        self._columns = [
            (
                each.name,
                positions[each.name],
                _column_conversion(features[positions[each.name]], each),
                (-1, 1) if len(each.shape) > 1 else (-1,),
            )
            for each in inputs
        ]
        self._one_row = {
            each.name: np.zeros((1,) * len(each.shape), TENSORS[each.type]) for each in inputs
        }
        self._cells = [
            (
                self._one_row[each.name].reshape(-1),
                positions[each.name],
                MISSING_TEXT if TENSORS[each.type] is object else np.nan,
            )
            for each in inputs
        ]

    def feed(self, rows: Rows) -> dict[str, Any]:
        """The inputs of some rows."""
        return {
            name: convert(rows[:, position]).reshape(shape)
            for name, position, convert, shape in self._columns
        }

    def feed_one(self, rows: Rows) -> dict[str, Any]:
        """The inputs of one row, in tensors that are reused."""
        # Several times faster than an array operation for each column.
        row = rows[0].tolist()
        for cell, position, missing in self._cells:
            value = row[position]
            cell[0] = missing if value is None else value
        return self._one_row


def _column_conversion(feature: Feature, tensor: Any) -> Callable[[Any], Any]:
    dtype = TENSORS.get(tensor.type)
    if dtype is None:
        raise ValueError(f"input {tensor.name!r} is a {tensor.type}, which no column can be")
    if dtype is object:
        if feature.is_numeric:
            raise ValueError(f"input {tensor.name!r} is a string, the feature is a {feature.kind}")
        if not feature.nullable:
            return lambda values: values
        # A plain string would be of numpy's own type, which cuts NUL off.
        missing = np.array(MISSING_TEXT, dtype=object)
        return lambda values: np.where(is_missing(values), missing, values)
    if not np.issubdtype(dtype, np.floating):
        # 2.5 would become the known value 2.
        unseen = feature.kind == "category" and feature.unseen_allowed
        if feature.kind == "number" or feature.nullable or unseen:
            raise ValueError(
                f"input {tensor.name!r} is a {tensor.type}, which does not hold every value"
            )
    return lambda values: values.astype(dtype)


def _reading(task: Task, labels: Sequence[Any]) -> Read:
    match task:
        case Classification():
            return _classification(task, labels)
        case MultiOutput():
            return _multioutput(task, labels)
        case Regression():
            return lambda _, numbers: Prediction(finite(_side_by_side(numbers)))
        case OutlierDetection():
            return _outlier(task) if labels else _negative_score
        case PlainPrediction():
            return lambda labels, numbers: Prediction([*labels, *numbers][0].tolist())


def _classification(task: Classification, labels: Sequence[Any]) -> Read:
    classes = task.classes
    if not labels:
        return lambda _, numbers: most_probable(numbers[0], classes)
    names = _label_names(classes, labels[0])
    if not task.has_probabilities:
        return lambda labels, _: Prediction(names(labels[0].reshape(-1).tolist()))
    return lambda labels, numbers: Prediction(
        names(labels[0].reshape(-1).tolist()), finite(numbers[0])
    )


def _label_names(classes: Sequence[Label], output: Any) -> Callable[[list[Any]], list[Any]]:
    """Turns what a tensor of labels holds into classes: booleans come as integers or strings."""
    if output.name == POSITIONS:
        return lambda labels: [classes[position] for position in labels]
    held: type = str if output.type == "tensor(string)" else int
    if all(type(label) is held for label in classes):
        return lambda labels: labels
    known = {str(label) if held is str else label: label for label in classes}
    return lambda labels: [known[label] for label in labels]


def _multioutput(task: MultiOutput, labels: Sequence[Any]) -> Read:
    tensors = list(labels) * (len(task.outputs) if len(labels) == 1 else 1)
    names = [
        _label_names(output.classes, tensor)
        for output, tensor in zip(task.outputs, tensors, strict=False)
    ]

    def read(labels: list[Any], numbers: list[Any]) -> Prediction:
        scores = _by_output(numbers) if task.has_probabilities else None
        if labels:
            columns = list(_side_by_side(labels).T.tolist())
            values = [name(column) for name, column in zip(names, columns, strict=True)]
        else:
            values = [
                most_probable(each, output.classes).values
                for each, output in zip(scores or (), task.outputs, strict=True)
            ]
        rows = [list(row) for row in zip(*values, strict=True)]
        if scores is None:
            return Prediction(rows)
        return Prediction(rows, [list(row) for row in zip(*map(finite, scores), strict=True)])

    return read


def _by_output(numbers: list[Any]) -> list[Any]:
    """For each output an array of shape [rows, classes]."""
    if len(numbers) > 1:
        return numbers
    (only,) = numbers
    if isinstance(only, list) or only.ndim == 3:  # noqa: PLR2004
        return list(only)
    # One probability for each label, that of class 1.
    return [np.stack([1 - positive, positive], axis=1) for positive in only.T]


def _side_by_side(arrays: list[Any]) -> Any:
    if len(arrays) == 1:
        return arrays[0].reshape(len(arrays[0]), -1)
    return np.concatenate([each.reshape(len(each), -1) for each in arrays], axis=1)


def _outlier(task: OutlierDetection) -> Read:
    def read(labels: list[Any], numbers: list[Any]) -> Prediction:
        values = (labels[0].reshape(-1) == -1).tolist()
        return Prediction(values, finite(numbers[0].reshape(-1)) if task.has_score else None)

    return read


def _negative_score(_: list[Any], numbers: list[Any]) -> Prediction:
    scores = numbers[0].reshape(-1)
    return Prediction((scores < 0).tolist(), finite(scores))
