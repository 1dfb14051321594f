"""The Ray Serve deployment, and the builder that `serve run` and serve_config.yaml name."""

import gc
import os
import time
from functools import partial

import click
import ray
from ray import serve
from ray.serve import Application
from starlette.requests import Request
from starlette.responses import Response

from serve_app.autoscaling import CPU_UTILISATION, CpuMeter
from serve_app.errors import UserError
from serve_app.grpc.over_http import over_http
from serve_app.grpc.rpcs import Rpcs
from serve_app.grpc.servicer import Servicer
from serve_app.http.routes import Routes
from serve_app.inference import MicroBatcher
from serve_app.model.artifact import Artifact
from serve_app.model.description import proof_line
from serve_app.model.loading import load_predictor
from serve_app.protocols.protocol import require_protocols
from serve_app.protocols.use_case import UseCase
from serve_app.ray_internals.grpc_server import limit_messages
from serve_app.ray_internals.serving import listen_on_loopback
from serve_app.settings import Settings
from serve_app.telemetry.logs import configure_logging
from serve_app.tracing.hook import check_hook, flush
from serve_app.tracing.relay import relay_of_process

GC_THRESHOLD = 20_000
"""New objects after which Python searches them for cycles.

A request leaves few. At Python's default of 700 the search takes a twentieth of the time."""


@serve.deployment
class Classifier(Servicer):
    """One replica: a verified model behind its routes."""

    def __init__(self, settings: Settings) -> None:
        """Load the model and answer its sample, so that the first request finds it warm.

        Raises:
            ArtifactError: the model must not be served; the replica does not start.
        """
        started = time.perf_counter()
        logger = configure_logging()
        listen_on_loopback()
        limit_messages(settings.max_body_bytes)
        check_hook(os.environ, logger)
        try:
            artifact = Artifact.open(settings.model_dir, pinned_version=settings.model_version)
            predictor = load_predictor(artifact, settings.engine_override())
        except Exception as error:
            logger.error("model refused: %s", error)
            raise
        inference = MicroBatcher(predictor, max_rows=settings.max_batch_rows)
        relay = relay_of_process()
        spans = None if relay is None else relay.put
        use_case = UseCase(artifact.card, predictor.engine, inference, settings, spans)
        self._routes = Routes(use_case)
        self.direct_routes = self._routes if settings.direct_path else None
        self.rpcs = Rpcs(use_case)
        self.http_middleware = partial(over_http, rpcs=self.rpcs, is_direct=settings.direct_path)
        logger.info(
            "model loaded",
            extra={
                "fields": {
                    "model": artifact.card.name,
                    "model_version": artifact.card.version,
                    "engine": predictor.engine,
                    "engine_reason": artifact.card.compilation.reason,
                    "proof": proof_line(artifact.card),
                    "seconds": round(time.perf_counter() - started, 3),
                }
            },
        )
        gc.set_threshold(GC_THRESHOLD)
        # Last, so that loading the model does not count as load.
        self._cpu = CpuMeter(ray.get_runtime_context().get_assigned_resources().get("CPU", 0))

    async def __call__(self, request: Request) -> Response:
        """Answer one HTTP request."""
        return await self._routes(request)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Metric that the autoscaling policy reads; Serve calls this about once a second."""
        return {CPU_UTILISATION: self._cpu.read()}

    def __del__(self) -> None:
        # Ray calls this after the last request; queued spans would be lost with the process.
        flush()


def build_app(settings: Settings) -> Application:
    """Serve application; ``import_path: serve_app.deployment:build_app``.

    Raises:
        ClickException: there is no servable model in ``settings.model_dir``, or no such protocol;
            `serve run`, made with click, prints it as one line.
    """
    # Here, and not only in the replica, so that a missing model fails the deployment at once.
    try:
        card = Artifact.open(settings.model_dir, pinned_version=settings.model_version).card
        require_protocols(settings.protocols)
    except UserError as error:
        raise click.ClickException(str(error)) from None
    # A replica that starts later must not serve what has taken the place of this model.
    settings = settings.model_copy(update={"model_version": card.version})
    return Classifier.bind(settings)  # type: ignore[attr-defined]
