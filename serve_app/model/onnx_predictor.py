"""A compiled model in ONNX Runtime."""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from serve_app.model.card import Engine, Precision
from serve_app.model.features import Feature
from serve_app.model.onnx_inputs import Inputs
from serve_app.model.onnx_outputs import outputs_of, reading
from serve_app.model.prediction import Prediction
from serve_app.model.predictor import Rows
from serve_app.model.tasks import Task

MANY_TERMS = 1_000
"""Terms of texts above which the counts of one row fit the cache of a processor, and those of many
do not: several times faster one by one."""


EXTERNAL_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
"""Option of onnxruntime_session_options_config_keys.h."""


class OnnxPredictor:
    """A compiled model: one thread, synchronous, no pickle; not thread-safe."""

    engine: Engine = "onnx"

    def __init__(
        self, model: bytes, *, precision: Precision, features: Sequence[Feature], task: Task
    ) -> None:
        """Load a model.

        Args:
            model: serialised ONNX model, with the inputs of `Inputs` and the outputs of
                `outputs_of`.
            precision: type of its matrix of rows.
            features: columns of the rows.
            task: what the model predicts.

        Raises:
            ValueError: its inputs do not fit the features, or its outputs the task.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # A replica has one CPU: a thread pool would add context switches and busy waiting.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # For tensors of a few hundred bytes an arena costs more than malloc.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        # The digests of the card cover the file of the model only. Weights in other files would be
        # read from the working directory; nothing can be below a file.
        options.add_session_config_entry(EXTERNAL_WEIGHTS_FOLDER, os.devnull)
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = outputs_of(task)
        missing = set(names) - {output.name for output in session.get_outputs()}
        if missing:
            raise ValueError(f"a model of task {task.name} without {', '.join(sorted(missing))}")
        inputs = Inputs(session, np.dtype(precision), features)
        self._run = functools.partial(session.run, list(names))
        self._read = reading(task)
        self._feed = inputs.feed
        self._one_by_one = inputs.terms > MANY_TERMS
        self._predict_one = self._bound(session, inputs)

    def predict(self, rows: Rows) -> Prediction:
        """See `Predictor.predict`."""
        if len(rows) == 1:
            return self._predict_one(rows)
        if not self._one_by_one:
            return self._read(self._run(self._feed(rows)))
        found = [self._predict_one(row[np.newaxis]) for row in rows]
        scores = None if found[0].scores is None else [(each.scores or [])[0] for each in found]
        return Prediction([each.values[0] for each in found], scores)

    def _bound(self, session: Any, inputs: Inputs) -> Callable[[Rows], Prediction]:
        """A model call for one row that reuses its tensors, which halves its time."""
        from onnxruntime import OrtValue

        # The graph does not always tell the shapes and types of its outputs; a call does.
        answers = self._run(inputs.one_row)
        binding = session.io_binding()
        for name, tensor in inputs.one_row.items():
            binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(tensor))
        for name, answer in zip(self._run.args[0], answers, strict=True):
            binding.bind_ortvalue_output(name, OrtValue.ortvalue_from_numpy(answer))
        run, read, fill = session.run_with_iobinding, self._read, inputs.fill

        def predict(rows: Rows) -> Prediction:
            fill(rows)
            run(binding)
            return read(answers)

        return predict
