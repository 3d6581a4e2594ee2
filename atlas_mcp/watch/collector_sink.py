"""The end that spans arrive at besides MLflow: an endpoint of OpenTelemetry's protocol. Only its carrier uses this."""

from __future__ import annotations

import gzip
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from atlas_mcp.model.retry_after import retry_after
from atlas_mcp.watch.answers import PartlyRefused, Refused, Unreachable
from atlas_mcp.watch.collector import Collector
from atlas_mcp.watch.otlp import to_request
from atlas_mcp.watch.spool import Batch

if TYPE_CHECKING:
    import httpx

    from atlas_mcp.watch.books import Books

_TIMEOUT_SECONDS: Final = 30.0
_REFUSALS: Final = (400, 413, 422)


@contextmanager
def open_collector(collector: Collector) -> Generator[CollectorSink]:
    """The sink for a collector. Nothing is sent before there are spans."""
    import httpx

    local = urlsplit(collector.endpoint).hostname in ("localhost", "127.0.0.1", "::1")
    with httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=not local, headers=collector.header_pairs()) as client:
        yield CollectorSink(client, collector.address)


class CollectorSink:
    """Posts spans. Loads no MLflow."""

    experiment_id = ""

    def __init__(self, client: httpx.Client, address: str) -> None:
        self._client = client
        self._address = address

    @property
    def books(self) -> Books:
        """There are none: notes are MLflow's own."""
        raise Refused("a collector takes spans only")

    def put(self, batches: Sequence[Batch]) -> None:
        """Post the spans of all batches as one request. Raises Refused or Unreachable."""
        import httpx

        try:
            body = gzip.compress(to_request(batches).SerializeToString(), compresslevel=3)
        except (ValueError, TypeError, KeyError) as error:
            raise Refused(f"{type(error).__name__}: {error}") from error
        headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
        try:
            answer = self._client.post(self._address, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{type(error).__name__}: {error}") from error
        said = f"HTTP {answer.status_code}: {answer.text[:300]}"
        if answer.status_code in _REFUSALS:
            raise Refused(said)
        if not answer.is_success:  # a wrong key, too, is mended by people, and the spans wait for that
            raise Unreachable(said, after_seconds=retry_after(answer.headers) or 0.0)
        _require_all(answer)


def _require_all(answer: httpx.Response) -> None:
    """Raise PartlyRefused for spans that were rejected while the others were taken."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    if "protobuf" not in answer.headers.get("content-type", ""):
        return
    try:
        partial: Any = cast("Any", ExportTraceServiceResponse.FromString(answer.content)).partial_success
    except DecodeError:
        return
    if partial.rejected_spans:
        raise PartlyRefused(f"{partial.rejected_spans} spans: {partial.error_message[:300]}", partial.rejected_spans)
