"""The two ends that traces can arrive at: an MLflow database, and an MLflow server. Only the carrier uses them.

Both are idempotent (MLflow keeps one span for each trace and span id; of notes see `books`), so what was sent and not
yet removed from the spool may be sent again. `Refused` is about what was sent: it will never be taken; `Unreachable` is
about the other side: trying again later may help. Nothing else is raised.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from atlas_mcp.watch.answers import Refused, Unreachable
from atlas_mcp.watch.books import Books, in_process
from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.otlp import to_request
from atlas_mcp.watch.spool import Batch

if TYPE_CHECKING:
    import httpx

_TIMEOUT_SECONDS: Final = 15.0
_TAG: Final = "mlflow.traceTag."
_PROMPTS: Final = "atlas.prompts"
_LINK: Final = "api/2.0/mlflow/traces/link-prompts"
_REFUSALS: Final = (400, 413, 422)


class Sink(Protocol):
    """Where spans and notes arrive."""

    experiment_id: str

    def put(self, batches: Sequence[Batch]) -> None:
        """Store the spans of all batches, or none. Raises Refused or Unreachable."""
        ...

    @property
    def books(self) -> Books:
        """What notes are told to. Raises Refused or Unreachable."""
        ...


@contextmanager
def open_sink(home: Path, destination: Destination) -> Generator[Sink]:
    """The sink for a destination, its experiment found or made. Raises Unreachable."""
    if destination.kind == "server":
        with _server_client(destination) as client:
            yield ServerSink(client, destination.experiment, _house(home))
    else:
        yield StoreSink(home, destination)


class StoreSink:
    """MLflow's own store on a database. Making it loads MLflow: seconds, and some 200 MB."""

    def __init__(self, home: Path, destination: Destination) -> None:
        with _store_errors():
            from mlflow.entities import Span
            from mlflow.entities.model_registry import PromptVersion
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            self._to_span: Any = Span.from_otel_proto
            self._to_version: Any = PromptVersion
            self._home = home
            self._books: Books | None = None
            self._url = destination.database_url(home)
            self._artifacts = artifacts = (home / "artifacts").absolute().as_uri()
            if destination.kind == "home":
                _make_database(home / "mlflow.db", lambda url: SqlAlchemyStore(url, artifacts))
            self._store: Any = SqlAlchemyStore(self._url, artifacts)
            if destination.kind == "home":
                self._read_while_written()
                self._keep_artifacts_here()
            self.experiment_id = self._experiment(destination.experiment)

    def put(self, batches: Sequence[Batch]) -> None:
        """Store the spans of all batches in one transaction."""
        with _store_errors():
            spans = [
                self._to_span(span, resource=group.resource)
                for group in to_request(batches).resource_spans
                for scope in group.scope_spans
                for span in scope.spans
            ]
            self._store.log_spans(self.experiment_id, spans)
            for late in _late_tags(batches):
                self._store.set_trace_tag(late.trace_id, late.key, late.value)
            for trace_id, named in _prompts(batches).items():
                versions = [self._to_version(name=name, version=int(number), template="") for name, number in named]
                self._store.link_prompts_to_trace(trace_id, versions)

    @property
    def books(self) -> Books:
        """MLflow's own application on this database, made when there is something to tell it."""
        if self._books is None:
            with _store_errors():
                client = in_process(self._url, self._artifacts)
            self._books = Books(client, self.experiment_id, _house(self._home), own_files=True)
        return self._books

    def _read_while_written(self) -> None:
        from sqlalchemy import text

        with self._store.engine.connect() as connection:
            connection.execute(text("PRAGMA journal_mode=WAL"))

    def _keep_artifacts_here(self) -> None:
        """MLflow notes whole paths: in a home that was moved or restored elsewhere they are its old ones."""
        from sqlalchemy import text

        here = {"here": f"{self._artifacts}/", "length": len(self._artifacts) + 1}
        changes = (
            "UPDATE experiments SET artifact_location = :here || experiment_id"
            " WHERE substr(artifact_location, 1, :length) != :here",
            "UPDATE runs SET artifact_uri = :here || experiment_id || '/' || run_uuid || '/artifacts'"
            " WHERE substr(artifact_uri, 1, :length) != :here",
        )
        with self._store.engine.begin() as connection:
            for change in changes:
                connection.execute(text(change), here)

    def _experiment(self, name: str) -> str:
        found = self._store.get_experiment_by_name(name)
        if found is None:
            return str(self._store.create_experiment(name))
        if found.lifecycle_stage == "deleted":
            self._store.restore_experiment(found.experiment_id)
        return str(found.experiment_id)


def _house(home: Path) -> str:
    """The home's own id, by which its series are told from other homes' on the same server."""
    try:
        return (home / "id").read_text().strip()
    except FileNotFoundError:
        return ""


def _make_database(path: Path, make: Callable[[str], Any]) -> None:
    """Make MLflow's database if there is none: beside its place, then renamed, since MLflow never mends a half of one.

    Its first opening takes seconds, in which it may be killed; who calls holds the lock of the only carrier.
    """
    if path.exists():
        return
    draft = path.with_name("mlflow.db.draft")
    for left_over in path.parent.glob(f"{draft.name}*"):
        left_over.unlink()
    make(f"sqlite:///{draft.absolute().as_posix()}").engine.dispose()
    draft.replace(path)


@contextmanager
def _store_errors() -> Generator[None]:
    """Tell what is wrong with the spans from what is wrong with the database."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refused(f"{type(error).__name__}: {error}") from error
    except Exception as error:
        status = getattr(error, "get_http_status_code", None)
        if status and status() in _REFUSALS:
            raise Refused(str(error)) from error
        raise Unreachable(f"{type(error).__name__}: {error}") from error


class ServerSink:
    """An MLflow server, by its REST and OTLP addresses. Loads no MLflow."""

    def __init__(self, client: httpx.Client, experiment: str, house: str) -> None:
        self._client = client
        self.experiment_id = self._experiment(experiment)
        self._books = Books(client, self.experiment_id, house, own_files=False)

    @property
    def books(self) -> Books:
        """By the same addresses."""
        return self._books

    def put(self, batches: Sequence[Batch]) -> None:
        """Post all batches as one OTLP request, which the server takes whole or not at all."""
        try:
            body = gzip.compress(to_request(batches).SerializeToString(), compresslevel=3)
        except (ValueError, TypeError, KeyError) as error:
            raise Refused(f"{type(error).__name__}: {error}") from error
        headers = {
            "content-type": "application/x-protobuf",
            "content-encoding": "gzip",
            "x-mlflow-experiment-id": self.experiment_id,
        }
        answer = self._request("POST", "v1/traces", content=body, headers=headers)
        if answer.status_code in _REFUSALS:
            raise Refused(f"HTTP {answer.status_code}: {answer.text[:300]}")
        _require_success(answer)
        for late in _late_tags(batches):
            # Its spans are there; a server that knows no tags, or has deleted the trace since, goes without.
            path = f"api/2.0/mlflow/traces/{late.trace_id}/tags"
            self._request("PATCH", path, json={"key": late.key, "value": late.value})
        for trace_id, named in _prompts(batches).items():
            versions = [{"name": name, "version": number} for name, number in named]
            self._request("POST", _LINK, json={"trace_id": trace_id, "prompt_versions": versions})

    def _experiment(self, name: str) -> str:
        path = "api/2.0/mlflow/experiments/"
        found = self._request("GET", f"{path}get-by-name", params={"experiment_name": name})
        if found.status_code == 404 and "RESOURCE_DOES_NOT_EXIST" in found.text:
            made = self._request("POST", f"{path}create", json={"name": name})
            if made.status_code == 200:
                return str(made.json()["experiment_id"])
            found = self._request("GET", f"{path}get-by-name", params={"experiment_name": name})  # another was first
        _require_success(found)
        try:
            known = found.json()["experiment"]
            identity = str(known["experiment_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise Unreachable("the address does not answer as an MLflow server does") from error
        if known.get("lifecycle_stage") == "deleted":
            _require_success(self._request("POST", f"{path}restore", json={"experiment_id": identity}))
        return identity

    def _request(self, method: str, path: str, **more: Any) -> httpx.Response:
        import httpx

        try:
            return self._client.request(method, path, **more)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{type(error).__name__}: {error}") from error


class _LateTag(NamedTuple):
    trace_id: str
    key: str
    value: str


def _late_tags(batches: Sequence[Batch]) -> list[_LateTag]:
    """Tags of our own on spans below a root, the newest last: how a run ended, long after the call that asked for it.

    MLflow itself reads tags from roots only.
    """
    return [
        _LateTag(f"tr-{span['trace']}", key.removeprefix(_TAG), str(value))
        for batch in batches
        for span in batch.spans
        if span["parent"]
        for key, value in span["attributes"].items()
        if key.startswith(f"{_TAG}atlas.")
    ]


def _prompts(batches: Sequence[Batch]) -> dict[str, list[tuple[str, str]]]:
    """The prompts that turns were asked with, by trace: name and version, as MLflow's registry has them."""
    named: dict[str, dict[tuple[str, str], None]] = {}
    for span in (span for batch in batches for span in batch.spans):
        for one in span["attributes"].get(_PROMPTS) or ():
            name, _, number = str(one).rpartition("/")
            if name and number.isdigit():
                named.setdefault(f"tr-{span['trace']}", {})[name, number] = None
    return {trace_id: list(pairs) for trace_id, pairs in named.items()}


def _require_success(answer: httpx.Response) -> None:
    if answer.status_code != 200:
        raise Unreachable(f"HTTP {answer.status_code}: {answer.text[:300]}")


def _server_client(destination: Destination) -> httpx.Client:
    import httpx

    address = f"{(destination.tracking_uri or '').rstrip('/')}/"
    local = urlsplit(address).hostname in ("localhost", "127.0.0.1", "::1")
    password = destination.password.get_secret_value() if destination.password else ""
    headers = {"authorization": f"Bearer {destination.token.get_secret_value()}"} if destination.token else {}
    return httpx.Client(
        base_url=address,
        timeout=_TIMEOUT_SECONDS,
        trust_env=not local,  # a proxy of the environment is not meant for this machine
        auth=(destination.username, password) if destination.username and not destination.token else None,
        headers=headers,
    )
