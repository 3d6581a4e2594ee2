"""Any OpenTelemetry endpoint besides MLflow: it gets every span, and neither end holds up the other."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from atlas_mcp._config import destination
from atlas_mcp.errors import ConfigurationError
from atlas_mcp.settings import load_settings
from atlas_mcp.watch.calls import hashed_caller
from atlas_mcp.watch.collector import Collector
from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.erasing import erase_traces
from atlas_mcp.watch.notes import MetricsNote, tell
from atlas_mcp.watch.sidecar import start_ingest
from atlas_mcp.watch.spans import span
from atlas_mcp.watch.spool import anything_waits, read, waiting
from atlas_mcp.watch.state import IngestState, load_state, save_state
from atlas_mcp.watch.tracing import open_tracing
from tests.homes import contents
from tests.mlflow_server.collector import Collecting, collecting
from tests.mlflow_server.conftest import wait_until

pytestmark = pytest.mark.timeout(300)

GONE = "http://127.0.0.1:9"
Ingest = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def collector() -> Generator[Collecting]:
    with collecting() as made:
        yield made


def besides(address: str, **more: Any) -> Destination:
    """The home's own database, which nobody fills while the test goes on, and the collector."""
    return Destination(besides=Collector(endpoint=address, **more))


def work(home: Path, where: Destination, *names: str) -> None:
    """Spans on disk; nobody carries them by himself, as the other side is said to have asked for a pause."""
    (home / "spool-otlp").mkdir(parents=True)
    save_state(home / "spool-otlp", IngestState(retry_at=time.time() + 3_600))
    with open_tracing(home, destination=where):
        for name in names:
            with span(name, "TOOL", {"n": 1}), span(f"{name}-step"):
                pass


def carry(home: Path, collector: Collector) -> int:
    """Run a carrier for the collector until nothing waits, or it gives up."""
    return start_ingest(home, collector, "--once").wait(200)


def settled(home: Path) -> bool:
    return not anything_waits(home / "spool-otlp")


def test_a_collector_gets_every_span_compressed_with_its_headers_and_no_notes(
    home: Path, collector: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_OTLP_ENDPOINT", collector.address)
    monkeypatch.setenv("ATLAS_OTLP_HEADERS", "authorization=Basic%20c2VjcmV0LWtleQ==, x-project = a%2Cb")
    where = destination(load_settings())
    with open_tracing(home, destination=where) as tracing:
        with span("call", "TOOL", {"message": "grüß Gott"}), span("step"):
            pass
        assert tell(MetricsNote(key="m", series="health", values={"agents": 1.0}, at_ms=1))
        assert tracing.flush(60)
    wait_until(lambda: sorted(collector.taken) == ["call", "step"])  # leaving has started the carrier
    wait_until(lambda: settled(home))
    got = collector.headers[0]
    assert (got["authorization"], got["x-project"]) == ("Basic c2VjcmV0LWtleQ==", "a,b")
    assert (got["content-type"], got["content-encoding"]) == ("application/x-protobuf", "gzip")
    assert anything_waits(home / "spool"), "what MLflow has not got was taken away"
    kept = b"".join(content for _, content in contents(home))
    assert b"c2VjcmV0LWtleQ" not in kept


@pytest.mark.parametrize("down", ["collector", "mlflow"])
def test_an_end_that_is_down_holds_up_the_other_one_not_at_all(
    ready_home: Path, collector: Collecting, ingest: Ingest, down: str
) -> None:
    home, there = ready_home, Collector(endpoint=collector.address)
    work(home, besides(GONE), "one", "two")
    if down == "collector":
        assert carry(home, Collector(endpoint=GONE)) == 1
        assert ingest(home).returncode == 0
        assert not anything_waits(home / "spool")
        assert not settled(home)
    else:
        assert ingest(home, "--tracking-uri", GONE).returncode == 1
        assert carry(home, there) == 0
        assert anything_waits(home / "spool")
        assert len(collector.taken) == 4
    # Also across restarts: the end that was down is back, for another process.
    assert carry(home, there) == 0
    assert ingest(home).returncode == 0
    assert sorted(collector.taken) == ["one", "one-step", "two", "two-step"]
    assert load_state(home / "spool").spans == 4
    assert settled(home)
    assert not anything_waits(home / "spool")


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_what_a_collector_does_not_take_now_waits_for_it_as_long_as_it_asks(
    home: Path, collector: Collecting, status: int
) -> None:
    collector.says = [(status, {"retry-after": "200"}), (500, {})]
    work(home, besides(GONE), "call")
    there = Collector(endpoint=collector.address)
    assert carry(home, there) == 1
    first = load_state(home / "spool-otlp")
    assert str(status) in (first.error or "")
    assert first.retry_at - first.at == pytest.approx(200, abs=1)
    assert carry(home, there) == 1
    second = load_state(home / "spool-otlp")
    assert second.failures == first.failures + 1
    assert carry(home, there) == 0
    assert sorted(collector.taken) == ["call", "call-step"]
    assert load_state(home / "spool-otlp").error is None


def test_a_collector_that_hangs_hangs_its_carrier_only_and_a_killed_one_loses_nothing(
    ready_home: Path, collector: Collecting, ingest: Ingest
) -> None:
    home = ready_home
    collector.held = threading.Event()
    work(home, besides(GONE), "call")
    carrier = start_ingest(home, Collector(endpoint=collector.address))
    assert collector.came.wait(200)
    assert ingest(home).returncode == 0, "MLflow's carrier waited for the collector's"
    assert load_state(home / "spool").spans == 2
    carrier.kill()
    carrier.wait()
    assert len(waiting(home / "spool-otlp")) == 1
    collector.held.set()
    collector.held = None
    assert carry(home, Collector(endpoint=collector.address)) == 0
    assert {"call", "call-step"} == set(collector.taken)
    assert settled(home)


def test_what_waits_for_a_collector_is_bounded_and_its_loss_counted_apart(home: Path, collector: Collecting) -> None:
    big = home / "spool-otlp" / "1-full" / "00000000000000000001-1-abcdef.spans"
    big.parent.mkdir(parents=True)
    with big.open("wb") as full:
        full.truncate(1 << 20)
    with open_tracing(home, destination=besides(GONE), spool_bytes=1 << 20) as tracing:
        for _ in range(10):
            with span("call"):
                pass
        assert tracing.flush(60)
        assert (tracing.counts.lost, tracing.counts.lost_besides, tracing.counts.written) == (0, 10, 10)
    big.unlink()
    assert settled(home)


def test_spans_that_a_collector_rejects_are_counted_and_not_sent_again(home: Path, collector: Collecting) -> None:
    collector.rejects = 1
    work(home, besides(GONE), "call")
    assert carry(home, Collector(endpoint=collector.address)) == 0
    state = load_state(home / "spool-otlp")
    assert (state.spans, state.refused) == (1, 1)
    assert len(collector.headers) == 1
    assert settled(home)


def test_one_request_that_is_too_large_is_sent_in_parts(home: Path, collector: Collecting) -> None:
    collector.says = [(413, {})]
    work(home, besides(GONE), "one", "two")
    assert carry(home, Collector(endpoint=collector.address)) == 0
    assert sorted(collector.taken) == ["one", "one-step", "two", "two-step"]
    assert load_state(home / "spool-otlp").refused == 0


def test_what_is_forgotten_is_taken_out_of_what_waits_for_a_collector_too(home: Path) -> None:
    user = hashed_caller("local:me")
    with (
        open_tracing(home, destination=besides(GONE)),
        span("call", "TOOL", {"message": "the cat is called Findus"}, user__id=user),
    ):
        pass

    def mend(value: Any, whole: bool) -> Any:
        text = repr(value)
        return value if "Findus" not in text else {**value, "attributes": {}}

    assert erase_traces(home, {"local:me": mend}) == 1
    for folder in ("spool", "spool-otlp"):
        files = waiting(home / folder)
        assert [row["name"] for file in files for row in read(file.path).spans] == ["call"]
        assert all("Findus" not in file.path.read_text() for file in files)


@pytest.mark.parametrize(
    ("endpoint", "headers", "named"),
    [
        ("collector:4318", None, "ATLAS_OTLP_ENDPOINT"),
        ("ftp://collector", None, "ATLAS_OTLP_ENDPOINT"),
        ("http://me:hunter22@collector", None, "ATLAS_OTLP_ENDPOINT"),
        ("http://collector:99999", None, "ATLAS_OTLP_ENDPOINT"),
        ("http://collector", "hunter22", "ATLAS_OTLP_HEADERS"),
        ("http://collector", "a key=hunter22", "ATLAS_OTLP_HEADERS"),
    ],
)
def test_an_address_or_headers_that_cannot_be_used_are_refused_at_the_start_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, headers: str | None, named: str
) -> None:
    monkeypatch.setenv("ATLAS_OTLP_ENDPOINT", endpoint)
    if headers:
        monkeypatch.setenv("ATLAS_OTLP_HEADERS", headers)
    with pytest.raises(ConfigurationError, match=named) as refused:
        destination(load_settings())
    assert "hunter22" not in str(refused.value)


def test_the_address_is_completed_and_shown_without_its_parameters() -> None:
    plain = Collector(endpoint="http://collector:4318/")
    assert plain.address == "http://collector:4318/v1/traces"
    keyed = Collector(endpoint="https://c.example/otel/v1/traces?key=abc", headers=SecretStr("a=hunter22"))
    assert keyed.address == "https://c.example/otel/v1/traces?key=abc"
    assert keyed.shown == "https://c.example/otel/v1/traces"
    assert keyed.scrub(f"{keyed.endpoint} said hunter22 key=abc") == f"{keyed.shown} said [redacted] [redacted]"
    assert "hunter22" not in repr(keyed)
