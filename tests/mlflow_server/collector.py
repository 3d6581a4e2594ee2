"""A loopback collector that decodes what it gets, and says what the test wants said."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Collecting:
    """What came, request by request, and what is said to the next ones: statuses first, then 200."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.address = f"http://127.0.0.1:{server.server_port}"
        self.says: list[tuple[int, dict[str, str]]] = []
        self.rejects = 0
        self.taken: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.held: threading.Event | None = None
        self.came = threading.Event()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Take a request."""
        self.headers.append({name.lower(): value for name, value in headers.items()})
        self.came.set()
        if self.held is not None:
            self.held.wait(60)
        if path != "/v1/traces":
            return 404, {}, b""
        if self.says:
            status, more = self.says.pop(0)
            return status, more, b""
        request = ExportTraceServiceRequest.FromString(gzip.decompress(body))
        self.taken += [
            span.name for group in request.resource_spans for scope in group.scope_spans for span in scope.spans
        ]
        partial = ExportTracePartialSuccess(rejected_spans=self.rejects, error_message="too odd")
        said = ExportTraceServiceResponse(partial_success=partial if self.rejects else None).SerializeToString()
        return 200, {"content-type": "application/x-protobuf"}, said


@contextmanager
def collecting() -> Generator[Collecting]:
    """A collector at work on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, headers, said = made.answer(self.path, dict(self.headers.items()), body)
            try:
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(said))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)
            except OSError:
                return  # who asked is gone

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Collecting(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        if made.held is not None:
            made.held.set()
        server.shutdown()
