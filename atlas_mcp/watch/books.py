"""MLflow's books: its runs, feedback, series of metrics and prompts, by its REST addresses. Only the carrier uses them.

The addresses are those of a server, or of MLflow's own application within this process on a database: one way for both.
Telling the same note again changes nothing: runs and series are found by the note's key in the tag `atlas.key`,
feedback by an id made of it (told anew with another value it is corrected), and values that are there are not doubled.
A run that somebody deleted in MLflow stays deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from atlas_mcp.watch.answers import NotYet, Refused, Unreachable
from atlas_mcp.watch.notes import FeedbackNote, MetricsNote, Note, PromptNote, RunNote

if TYPE_CHECKING:
    import httpx

KEY: Final = "atlas.key"

_API: Final = "api/2.0/mlflow/"
_TRACES: Final = "api/3.0/mlflow/traces/"
_ARTIFACTS: Final = "api/2.0/mlflow-artifacts/artifacts/"
_STATUS: Final = {"completed": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}
_SOURCE: Final = {"human": "HUMAN", "code": "CODE", "judge": "LLM_JUDGE", "agent": "LLM_JUDGE"}
_PROMPT: Final = {"mlflow.prompt.is_prompt": "true", "_mlflow_prompt_type": "text"}
_IN_USE: Final = "production"
_VALUES: Final = 800
_WORDS: Final = 50
_AT: Final = "atlas.at"
_LINKS: Final = 100
_LATER: Final = (401, 403, 408, 429, 502, 503, 504)


class Books:
    """One experiment's. `house` tells this home's series and prompts from others' on the same server.

    `own_files`: artifacts that MLflow keeps in files are this machine's, and are written there.
    """

    def __init__(self, client: httpx.Client, experiment_id: str, house: str, *, own_files: bool) -> None:
        self._client = client
        self._own_files = own_files
        self._experiment_id = experiment_id
        self._house = house
        self._series: dict[str, str] = {}

    def tell(self, note: Note) -> None:
        """Write the note down. Raises Refused, NotYet for one that may be taken later, or Unreachable."""
        match note:
            case RunNote():
                self._run(note)
            case FeedbackNote():
                self._feedback(note)
            case MetricsNote():
                self._metrics(note)
            case PromptNote():
                self._prompt(note)

    # -- runs

    def _run(self, note: RunNote) -> None:
        tags = {**note.tags, KEY: note.key, "mlflow.user": note.user or ""}
        if note.parent:
            tags["mlflow.parentRunId"] = self._parent(note.parent)
        run = self._find(note.key) or self._create(note.name, note.started_ms, tags)
        if run["lifecycle_stage"] == "deleted":
            return
        values = [_metric(name, value, note.ended_ms) for name, value in note.metrics.items()]
        span = max(1, note.ended_ms - note.started_ms)
        last = max((step.step for step in note.steps), default=0) or 1
        for step in note.steps:  # their own times are not told: spread over the run, in order
            at = note.started_ms + span * max(step.step, 0) // last
            values.append(_metric(step.name, step.value, at, step.step))
        words = [{"key": name, "value": value} for name, value in note.params.items()]
        self._log(run["run_id"], values, words)
        for name, text in note.artifacts.items():
            self._keep(run["artifact_uri"], name, text)
        for some in _portions(note.trace_ids, _LINKS):
            self._post("traces/link-to-run", {"run_id": run["run_id"], "trace_ids": some})
        ended = {"run_id": run["run_id"], "status": _STATUS[note.status], "end_time": note.ended_ms}
        self._post("runs/update", ended)

    def _parent(self, key: str) -> str:
        found = self._find(key)
        if found is None:
            raise NotYet(f"the run {key} is not there")
        return str(found["run_id"])

    def _find(self, key: str) -> dict[str, Any] | None:
        if "'" in key:
            raise Refused(f"a key must not hold a quotation mark: {key}")
        query = {
            "experiment_ids": [self._experiment_id],
            "filter": f"tags.`{KEY}` = '{key}'",
            "run_view_type": "ALL",
            "max_results": 1,
        }
        found = self._post("runs/search", query).get("runs")
        return found[0]["info"] if found else None

    def _create(self, name: str, started_ms: int, tags: dict[str, str]) -> dict[str, Any]:
        wanted = {
            "experiment_id": self._experiment_id,
            "run_name": name,
            "start_time": started_ms,
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        return self._post("runs/create", wanted)["run"]["info"]

    def _log(self, run_id: str, values: Sequence[dict[str, Any]], words: Sequence[dict[str, str]] = ()) -> None:
        for some in _portions(values, _VALUES):
            self._post("runs/log-batch", {"run_id": run_id, "metrics": some})
        for some in _portions(words, _WORDS):
            self._post("runs/log-batch", {"run_id": run_id, "params": some})

    def _keep(self, uri: str, name: str, text: str) -> None:
        parts = urlsplit(uri)
        if parts.scheme == "mlflow-artifacts":
            path = f"{_ARTIFACTS}{parts.path.strip('/')}/{quote(name)}"
            _accepted(self._request("PUT", path, content=text.encode()))
        elif parts.scheme == "file" and self._own_files:
            folder = Path(url2pathname(parts.path))
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / Path(name).name).write_text(text, encoding="utf-8")
        # Else the server keeps its artifacts where only its clients with their own keys can write: they are left out.

    # -- feedback

    def _feedback(self, note: FeedbackNote) -> None:
        given = f"a-{hashlib.sha256(note.key.encode()).hexdigest()[:32]}"
        path = f"{_TRACES}{note.trace_id}/assessments"
        known = self._request("GET", f"{path}/{given}")
        if known.status_code == 200:
            there = known.json()["assessment"]
            newer = int(there.get("metadata", {}).get(_AT, 0)) > note.at_ms
            if newer or (there["feedback"].get("value"), there.get("rationale", "")) == (note.value, note.rationale):
                return
            self._request("DELETE", f"{path}/{given}")  # another opinion of the same one takes its place
        at = datetime.fromtimestamp(note.at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        wanted = {
            "assessment_id": given,
            "assessment_name": note.name,
            "trace_id": note.trace_id,
            "source": {"source_type": _SOURCE[note.source], "source_id": note.source_id},
            "create_time": at,
            "last_update_time": at,
            "feedback": {"value": note.value},
            "rationale": note.rationale,
            "metadata": {KEY: note.key, _AT: str(note.at_ms)},
        }
        answer = self._request("POST", path, json={"assessment": wanted})
        if answer.status_code == 404:
            raise NotYet(f"the trace {note.trace_id} is not there")
        _accepted(answer)

    # -- series

    def _metrics(self, note: MetricsNote) -> None:
        run_id = self._series.get(note.series) or self._series_run(note)
        values = [_metric(name, value, note.at_ms, note.at_ms // 1_000) for name, value in note.values.items()]
        self._log(run_id, values)

    def _series_run(self, note: MetricsNote) -> str:
        key = f"series/{self._house}/{note.series}"
        run = self._find(key) or self._create(note.series, note.at_ms, {KEY: key, "atlas.series": note.series})
        if run["lifecycle_stage"] == "deleted":
            self._post("runs/restore", {"run_id": run["run_id"]})
        self._series[note.series] = str(run["run_id"])
        return self._series[note.series]

    # -- prompts

    def _prompt(self, note: PromptNote) -> None:
        known = self._version(note)
        if known is None:
            self._request("POST", f"{_API}registered-models/create", json={"name": note.name, "tags": _tags(_PROMPT)})
            tags = {**note.tags, **_PROMPT, "mlflow.prompt.text": note.text, KEY: self._of_house(note)}
            tags["atlas.version"] = str(note.version)
            wanted = {"name": note.name, "source": "dummy-source", "tags": _tags(tags)}
            known = str(self._post("model-versions/create", wanted)["model_version"]["version"])
        if note.promoted:
            self._post("registered-models/alias", {"name": note.name, "alias": _IN_USE, "version": known})

    def _version(self, note: PromptNote) -> str | None:
        """MLflow's number of that version of ours: the same, unless others use the name on the same server."""
        query = {"filter": f"name = '{note.name}' AND tags.`mlflow.prompt.is_prompt` = 'true'", "max_results": "1000"}
        answer = _accepted(self._request("GET", f"{_API}model-versions/search", params=query))
        for found in answer.json().get("model_versions", []):
            if {"key": KEY, "value": self._of_house(note)} in found.get("tags", []):
                return str(found["version"])
        return None

    def _of_house(self, note: PromptNote) -> str:
        return f"{self._house}/{note.key}"

    # -- asking

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return _accepted(self._request("POST", f"{_API}{path}", json=body)).json()

    def _request(self, method: str, path: str, **more: Any) -> httpx.Response:
        import httpx

        try:
            answer = self._client.request(method, path, **more)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{type(error).__name__}: {error}") from error
        if answer.status_code in _LATER:
            raise Unreachable(f"HTTP {answer.status_code}: {answer.text[:300]}")
        return answer


def in_process(database_url: str, artifacts: str) -> httpx.Client:
    """MLflow's own application on a database, in this process: no server, no port. Loads MLflow: a second more."""
    import httpx
    from mlflow.server import app, handlers

    handlers.initialize_backend_stores(database_url, database_url, artifacts)
    return httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://localhost/")


def _accepted(answer: httpx.Response) -> httpx.Response:
    if answer.status_code == 500:  # it may be the note, it may be the server: tried again, but not for ever
        raise NotYet(f"HTTP 500: {answer.text[:300]}")
    if answer.status_code != 200:
        raise Refused(f"HTTP {answer.status_code}: {answer.text[:300]}")
    return answer


def _metric(name: str, value: float, at_ms: int, step: int = 0) -> dict[str, Any]:
    return {"key": name, "value": value, "timestamp": at_ms, "step": step}


def _tags(named: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in named.items()]


def _portions(items: Sequence[Any], size: int) -> Generator[list[Any]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
