"""Log lines of the application: JSON, with the fields that Cloud Logging joins to a trace."""

import json
import logging
import os
import sys
import time
from typing import Any

from opentelemetry import trace

LOGGER_NAME = "serve_app"


class JsonFormatter(logging.Formatter):
    """One JSON object per line, with the fields that Cloud Logging joins to a trace.

    Field names: https://cloud.google.com/logging/docs/structured-logging
    """

    def __init__(self, project_id: str | None = None) -> None:
        super().__init__()
        self._trace_prefix = f"projects/{project_id}/traces/" if project_id else ""

    def format(self, record: logging.LogRecord) -> str:
        """Format ``record``; ``extra={"fields": {...}}`` become fields of the line."""
        entry: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "severity": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            entry["logging.googleapis.com/trace"] = f"{self._trace_prefix}{span.trace_id:032x}"
            entry["logging.googleapis.com/spanId"] = f"{span.span_id:016x}"
            entry["logging.googleapis.com/trace_sampled"] = span.trace_flags.sampled
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def configure_logging() -> logging.Logger:
    """Send the application's events to this process's standard error as JSON lines, once."""
    logger = logging.getLogger(LOGGER_NAME)
    if not logger.handlers:
        # In throughput mode Serve replaces sys.stderr by its own log; the original still reaches
        # the worker's file and the terminal of `serve run`.
        handler = logging.StreamHandler(sys.__stderr__)
        handler.setFormatter(JsonFormatter(os.environ.get("GOOGLE_CLOUD_PROJECT")))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return logger
