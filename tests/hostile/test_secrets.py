"""Keys, passwords and tokens stand nowhere but where they were put: not in what the server says, logs, traces, records,
exports or backs up, neither as they are nor written in another way."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.homes import contents
from tests.hostile.wire import MODERN, Wire, dumped, rpc
from tests.scripted_model import ScriptedModel
from tests.server.doors import COMMAND, call, http_server, over_http, until_ended

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

NOWHERE = "127.0.0.1:9"
"""Where nobody listens, so that errors come of it."""


def secret(name: str) -> str:
    """One that can be told from all others, with a sign that is written otherwise in an address."""
    return f"planted+{name}~Zq7w"


def planted(model: ScriptedModel) -> dict[str, str]:
    """Every setting that holds a secret, with one."""
    return {
        "ATLAS_MODEL": "openai:scripted-1",
        "OPENAI_BASE_URL": model.url,
        "OPENAI_API_KEY": f"sk-{secret('openai')}",
        "ANTHROPIC_API_KEY": f"sk-ant-{secret('anthropic')}",
        "GOOGLE_API_KEY": secret("google"),
        "GEMINI_API_KEY": secret("gemini"),
        "LETTA_BASE_URL": "embedded",
        "LETTA_API_KEY": secret("letta"),
        "ATLAS_EMBEDDER": "openai-compatible",
        "ATLAS_EMBEDDING_URL": f"http://user:{quote(secret('embedding'), safe='')}@{NOWHERE}/v1",
        "ATLAS_EMBEDDING_KEY": secret("embeddingkey"),
        "ATLAS_REDIS_URL": f"redis://:{quote(secret('redis'), safe='')}@{NOWHERE}/0",
        "ATLAS_NEO4J_URL": f"bolt://neo4j:{quote(secret('neo'), safe='')}@{NOWHERE}",
        "MLFLOW_TRACKING_URI": f"http://{NOWHERE}",
        "MLFLOW_TRACKING_USERNAME": "atlas",
        "MLFLOW_TRACKING_PASSWORD": secret("mlflow"),
        "ATLAS_OTLP_ENDPOINT": f"http://{NOWHERE}",
        "ATLAS_OTLP_HEADERS": f"authorization=Bearer {secret('otlp')}",
        "ATLAS_WEBHOOK_URL": f"http://{NOWHERE}/hook/{secret('hook')}",
        "ATLAS_WEBHOOK_SECRET": secret("webhooksecret"),
    }


SAID = f"sk-proj-{'A1b2C3d4' * 5}"
"""What a person pastes into a message: their own text, which agents get and keep; but no log and no trace does."""
WRONG = secret("wrong")
NAMES = (
    *("openai", "anthropic", "google", "gemini", "letta", "embedding", "embeddingkey", "redis", "neo", "mlflow"),
    *("otlp", "hook", "webhooksecret", "wrong", "database"),
)


def forms(text: str) -> set[bytes]:
    """The ways in which it may be written: as it is, in an address, in JSON, and in base64 wherever it begins."""
    raw = text.encode()
    encoded = {base64.b64encode(b"x" * start + raw)[4 * bool(start) : -4] for start in range(3)}
    encoded |= {one.translate(bytes.maketrans(b"+/", b"-_")) for one in encoded}
    return {raw, quote(text).encode(), quote(text, safe="").encode(), raw.hex().encode(), *encoded}


FORMS = {name: forms(secret(name)) for name in NAMES}


def found(content: bytes) -> list[str]:
    """Which of the secrets stand in it, in whichever form."""
    return [name for name, some in FORMS.items() if any(one in content for one in some)]


def opened(content: bytes) -> list[bytes]:
    """What a file holds, and what is packed in it."""
    if content.startswith(b"\x1f\x8b"):
        return [content, gzip.decompress(content)]
    if zipfile.is_zipfile(packed := io.BytesIO(content)):
        with zipfile.ZipFile(packed) as archive:
            return [content, *(archive.read(name) for name in archive.namelist())]
    return [content]


def command(*arguments: str) -> bytes:
    """All that a command of ours says."""
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, timeout=120, stdin=subprocess.DEVNULL, check=False
    )
    return done.stdout + done.stderr


def test_a_secret_is_found_however_it_is_written() -> None:
    text = secret("redis")
    for written in (text, quote(text, safe=""), json.dumps({"a": text}), text.encode().hex()):
        assert found(f"... {written} ...".encode()) == ["redis"]
    for before in ("", "a", "ab", "abc"):
        assert found(base64.b64encode(f"{before}{text} after".encode())) == ["redis"]


async def test_secrets_stand_nowhere_but_where_they_were_put(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripted_model: ScriptedModel
) -> None:
    settings = planted(scripted_model)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    told = f"Incorrect API key provided: {settings['OPENAI_API_KEY']}"
    scripted_model.on("Fail now", {"status": 401, "message": told}, times=1)
    said: list[bytes] = []
    with http_server() as (address, key, process):
        lines: list[str] = []
        assert process.stderr is not None
        source = process.stderr
        reader = threading.Thread(target=lambda: lines.extend(source), daemon=True)
        reader.start()
        wire = Wire(address, key)
        refused = wire.request(dumped(rpc("tools/list")), {"Authorization": f"Bearer {WRONG}"})
        said.append(wire.send(refused, close=False))
        said.append(wire.send(wire.request(b"", {"Authorization": None}, path=f"/mcp?key={quote(WRONG)}"), close=False))
        headers = {"Mcp-Protocol-Version": MODERN, "X-Api-Key": WRONG, "Cookie": f"session={WRONG}"}
        said.append(wire.send(wire.request(dumped(rpc("tools/call", name=WRONG, arguments={})), headers), close=False))
        async with over_http(address, key, "/mcp", MODERN) as client:

            async def ask(tool: str, **arguments: Any) -> dict[str, Any]:
                result = await client.call_tool(tool, arguments)
                said.append(result.model_dump_json().encode())
                return result.structured_content or {}

            await ask("chat_with_agent", agent="librarian", message="Fail now")
            await ask("chat_with_agent", agent="librarian", message=f"My key is {SAID}, keep it to yourself.")
            await ask("get_run", run_id=SAID)
            await ask("search_memory", query=SAID)
            run = await ask("run_team_task", goal="How is tea grown?", wait_seconds=5, max_rounds=0)
            if "run_id" in run:
                await until_ended(client, run)
            await ask("list_runs")
            status = await ask("get_status")
            await call(client, "share_knowledge", name="Tea", text="Tea is grown in Assam.")
        assert status
        said.append(command("status"))
        said.append(command("doctor"))
        process.terminate()
        process.wait(60)
        reader.join(10)
    said.append("".join(lines).encode())
    exported, saved = tmp_path / "all.atlas", tmp_path / "all.backup"
    said += [command("export", str(exported)), command("backup", str(saved)), command("audit")]
    assert exported.exists(), said[-3]
    assert saved.exists(), said[-2]

    for text in said:
        assert not found(text), text[:3_000]
    files = dict(contents(home)) | {path: path.read_bytes() for path in (exported, saved)}
    assert len(files) > 5
    for path, content in files.items():
        for text in opened(content):
            assert not found(text), f"{found(text)} in {path.relative_to(tmp_path)}"
    kept_raw = [path for path, content in files.items() if path != home / "keys" / "http" and key.encode() in content]
    assert not kept_raw, f"the bearer key in {kept_raw}"
    watched = [path for path in files if any(path.is_relative_to(home / one) for one in ("spool", "logs", "traces"))]
    assert watched
    for path in watched:
        assert not any(SAID.encode() in text for text in opened(files[path])), path
    assert SAID.encode() not in said[-4]
    assert SAID.encode() not in said[-1]


@pytest.mark.parametrize(
    "arguments", [("doctor",), ("status",), ("backup", "x.backup"), ("serve", "--http", "--port", "0")]
)
def test_a_database_that_does_not_answer_is_told_of_without_its_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    password = quote(secret("database"), safe="")
    monkeypatch.setenv("ATLAS_DATABASE_URL", f"postgresql://atlas:{password}@{NOWHERE}/atlas")
    monkeypatch.setenv("LETTA_BASE_URL", f"http://{NOWHERE}")
    if arguments[0] == "serve":
        process = subprocess.Popen(
            [sys.executable, "-m", "atlas_mcp", *arguments], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        try:
            assert process.stderr is not None
            said = b""
            while not re.search(rb"Ctrl-C|postgres|database", said, re.IGNORECASE):
                line = process.stderr.readline()
                said += line
                if not line:
                    break
        finally:
            process.kill()
            process.wait()
    else:
        said = command(*arguments)
    assert said
    assert not found(said), said
    for path, content in contents(tmp_path):
        assert not found(content), path
