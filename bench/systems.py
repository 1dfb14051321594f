"""What is measured: models, processes, and the address and right answer of each system."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from bench.otlp_sink import FIRST_EXPORT
from bench.predecessor import MODEL_VARIABLE
from bench.processes import PROJECT, BenchError, Process, free_port
from bench.ray_host import RayApplication, many_applications
from serve_app.environment import tracing_environment
from serve_app.model.artifact import Artifact
from serve_app.model.card import MODEL_FILE, Engine, ModelCard
from serve_app.packaging.train import ESTIMATORS, SEED, make_estimator

BATCH_ROWS = 100
SAMPLING_RATIOS = ("0", "0.1", "1.0")
TIMEOUT_SECONDS = 30.0
TOLERANCE = 1e-3
CONFIG = PROJECT / "serve_config.yaml"
UNTRACED = {"OTEL_TRACES_EXPORTER": "none"}
"""Whatever the caller's environment says: only `traced_services` pays for tracing."""
MODEL_NAMES = dict(zip(("lr", "rf"), ESTIMATORS, strict=True))

CEILING = "ceiling"
DESCRIPTIONS: Mapping[str, str] = {
    CEILING: "Ray Serve, same production mode and deployment options, handler returns a constant",
    "ours-*-onnx": "serve_app, engine onnx",
    "ours-*-sklearn": "serve_app, engine sklearn",
    "tuned-*": "FastAPI written for speed: coroutine handler, numpy row, assume_finite, orjson, "
    "uvicorn with uvloop and httptools, no access log, one worker, OMP_NUM_THREADS=1",
    "predecessor-*": "FastAPI, synchronous handler, DataFrame per request, predict and "
    "predict_proba, uvicorn defaults, one worker, access log to a file",
}


@dataclass(frozen=True)
class Model:
    """A trained model in the forms that the systems need, with its sample request."""

    name: str
    directory: Path
    frame_model: Path
    """The same estimator fitted on a DataFrame, as the predecessor has it."""
    card: ModelCard

    @property
    def body(self) -> bytes:
        """The sample as a request."""
        return json.dumps(self._instance).encode()

    @property
    def batch_body(self) -> bytes:
        """The sample as a request of `BATCH_ROWS` rows."""
        return json.dumps({"instances": [self._instance] * BATCH_ROWS}).encode()

    @property
    def answer(self) -> dict[str, Any]:
        """The right answer to `body`."""
        sample = self.card.sample
        return {
            "predicted_class": sample.predicted_class,
            "probabilities": sample.probabilities,
            "model_version": self.card.version,
        }

    @property
    def _instance(self) -> dict[str, float]:
        return {name: self.card.sample.instance[name] for name in self.card.feature_names}


@dataclass(frozen=True)
class Target:
    """One system under load."""

    name: str
    base: str
    """Address without the path of the endpoint."""
    model: Model
    batches: bool = False
    """It has a batch endpoint that is measured."""

    @property
    def url(self) -> str:
        """Endpoint for one row."""
        return f"{self.base}/predict/"

    @property
    def batch_url(self) -> str:
        """Endpoint for several rows."""
        return f"{self.base}/predict/batch/"

    def ready(self) -> bool:
        """Whether the sample is answered with a 200."""
        try:
            return _post(self.url, self.model.body).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def check(self) -> None:
        """Compare the answers to the sample, alone and as a batch, with the model card.

        Raises:
            BenchError: a wrong answer; its speed is of no interest.
        """
        self._compare(_post(self.url, self.model.body).json())
        if self.batches:
            predictions = _post(self.batch_url, self.model.batch_body).json()["predictions"]
            if len(predictions) != BATCH_ROWS:
                raise BenchError(f"{self.name} answered {len(predictions)} of {BATCH_ROWS} rows")
            self._compare(predictions[-1])

    def _compare(self, found: Mapping[str, Any]) -> None:
        expected = self.model.answer
        difference = max(
            abs(found["probabilities"][label] - probability)
            for label, probability in expected["probabilities"].items()
        )
        if found["predicted_class"] != expected["predicted_class"] or difference > TOLERANCE:
            raise BenchError(f"{self.name} answered {found}, not {expected}")


def train_models(scratch: Path) -> list[Model]:
    """Train and package one model of each kind below ``scratch``.

    Raises:
        BenchError: training fails.
    """
    models = []
    for name, estimator in MODEL_NAMES.items():
        directory = scratch / name
        command = [sys.executable, "-m", "serve_app.packaging.train"]
        done = subprocess.run(
            [*command, "--estimator", estimator, "--out", str(directory)],
            capture_output=True,
            check=False,
            cwd=PROJECT,
            text=True,
        )
        if done.returncode:
            raise BenchError(f"training {estimator} failed: {done.stderr.strip()[-500:]}")
        frame_model = scratch / f"{name}-frame.joblib"
        card = Artifact.open(directory).card
        _fit_on_frame(estimator, card, frame_model)
        models.append(Model(name, directory, frame_model, card))
    return models


@contextmanager
def contestants(
    models: Sequence[Model], scratch: Path, *, slow: bool = True
) -> Iterator[list[Target]]:
    """The systems, alive side by side: the one under load has the machine, the others idle.

    Without the ``slow`` ones: the ceiling and serve_app with ONNX.
    """
    engines: tuple[Engine, ...] = ("onnx", "sklearn") if slow else ("onnx",)
    applications = [_ceiling(models[0])] + [
        _ours(f"ours-{model.name}-{engine}", model, engine)
        for engine in engines
        for model in models
    ]
    of_model = [models[0], *(model for _ in engines for model in models)]
    with ExitStack() as stack:
        targets = stack.enter_context(_ray(applications, of_model, scratch))
        for name, arguments, batches in _FASTAPI if slow else ():
            for model in models:
                process, target = fastapi(name, arguments, model, scratch, batches=batches)
                stack.enter_context(process).wait_until(target.ready)
                targets.append(target)
        yield targets


@contextmanager
def traced_services(model: Model, scratch: Path) -> Iterator[list[Target]]:
    """Our service with tracing off and at each sampling ratio, and a sink for the spans.

    Raises:
        BenchError: no span arrived by the end, so that no cost of tracing was measured.
    """
    port = free_port()
    command = [sys.executable, "-m", "bench.otlp_sink", str(port)]
    applications = [_ours("tracing-off", model, "onnx")]
    for ratio in SAMPLING_RATIOS:
        variables = {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_TRACES_SAMPLER_ARG": ratio,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        }
        variables |= tracing_environment(variables)
        applications.append(_ours(f"tracing-{ratio}", model, "onnx", variables))
    with Process("otlp-sink", command, logs=scratch) as sink:
        with _ray(applications, [model] * len(applications), scratch) as targets:
            yield targets
        if FIRST_EXPORT not in sink.log():
            raise BenchError("no span arrived at the OTLP sink; see RAY_SERVE_TRACING_* in Ray")


def service(model: Model, scratch: Path, *, dashboard: bool) -> tuple[Process, Target]:
    """Our service alone, as a user starts it."""
    port = free_port()
    options = [] if dashboard else ["--no-dashboard"]
    command = [sys.executable, "-m", "serve_app", *options, "--config", str(CONFIG)]
    name = f"serve_app{'' if dashboard else '-no-dashboard'}"
    command += ["--port", str(port), f"model_dir={model.directory}"]
    process = Process(name, command, logs=scratch, environment=UNTRACED)
    return process, Target(name, f"http://127.0.0.1:{port}", model)


_FASTAPI: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("tuned", ("--loop", "uvloop", "--http", "httptools", "--no-access-log"), True),
    ("predecessor", (), False),
)
"""Module, options of uvicorn, and whether it has a batch endpoint."""


def fastapi(
    name: str, options: Sequence[str], model: Model, scratch: Path, *, batches: bool
) -> tuple[Process, Target]:
    """``bench.<name>`` under uvicorn."""
    port = free_port()
    environment = {MODEL_VARIABLE: str(model.frame_model)}
    if name == "tuned":
        environment = {
            MODEL_VARIABLE: str(model.directory / MODEL_FILE),
            "OMP_NUM_THREADS": "1",
        }
    command = [sys.executable, "-m", "uvicorn", "--factory", f"bench.{name}:create_app"]
    process = Process(
        f"{name}-{model.name}",
        [*command, "--port", str(port), *options],
        logs=scratch,
        environment=environment,
    )
    return process, Target(
        f"{name}-{model.name}", f"http://127.0.0.1:{port}", model, batches=batches
    )


@contextmanager
def _ray(
    applications: Sequence[RayApplication], models: Sequence[Model], scratch: Path
) -> Iterator[list[Target]]:
    port = free_port()
    config = many_applications(
        yaml.safe_load(CONFIG.read_text(encoding="utf-8")), applications, port
    )
    path = scratch / "ray.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    targets = [
        Target(
            application.name,
            f"http://127.0.0.1:{port}/{application.name}",
            model,
            batches=application.name.startswith("ours"),
        )
        for application, model in zip(applications, models, strict=True)
    ]
    command = [sys.executable, "-m", "bench.ray_host", str(path)]
    with Process("ray", command, logs=scratch, environment=UNTRACED) as process:
        for target in targets:
            process.wait_until(target.ready)
        yield targets


def _ceiling(model: Model) -> RayApplication:
    body = json.dumps(model.answer, separators=(",", ":"))
    return RayApplication(CEILING, "bench.ceiling:build_app", "Ceiling", {"body": body})


def _ours(
    name: str, model: Model, engine: Engine, environment: Mapping[str, str] | None = None
) -> RayApplication:
    return RayApplication(
        name,
        "serve_app.deployment:build_app",
        "Classifier",
        {"model_dir": str(model.directory), "engine": engine},
        environment or {},
    )


def _post(url: str, body: bytes) -> httpx.Response:
    headers = {"content-type": "application/json"}
    # The machine's proxy settings, if any, are not for loopback.
    with httpx.Client(trust_env=False, timeout=TIMEOUT_SECONDS) as client:
        return client.post(url, content=body, headers=headers)


def _fit_on_frame(estimator: str, card: ModelCard, destination: Path) -> None:
    """Fit on the rows on which `serve_app.packaging.train` fits, as a DataFrame with the card's columns."""
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.model_selection import train_test_split

    iris = load_iris(as_frame=True)
    labels = iris.target_names[iris.target].astype(object)
    frame = iris.data.set_axis(list(card.feature_names), axis=1)
    rows, _, labels, _ = train_test_split(
        frame, labels, test_size=0.2, stratify=labels, random_state=SEED
    )
    joblib.dump(make_estimator(estimator).fit(rows, labels), destination)
