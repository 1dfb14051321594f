"""An OTLP server that takes spans and discards them: ``python -m bench.otlp_sink PORT``.

Nothing is parsed, so that it costs the machine next to nothing. It prints a line for the first
export, the proof that spans arrive.
"""

import signal
import sys
import threading
from concurrent import futures

import grpc

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
FIRST_EXPORT = "first export arrived"


def main(port: str) -> None:
    """Serve on ``port`` until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    arrived = threading.Event()

    def export(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        if not arrived.is_set():
            arrived.set()
            print(FIRST_EXPORT, flush=True)
        return b""  # an ExportTraceServiceResponse with every field at its default

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    handler = grpc.unary_unary_rpc_method_handler(export)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"Export": handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    stop.wait()
    server.stop(grace=None)


if __name__ == "__main__":
    main(sys.argv[1])
