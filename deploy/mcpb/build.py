"""Make the bundle that Claude Desktop installs with a double click: `python deploy/mcpb/build.py [FOLDER]`.

The folder (dist/mcpb) then holds what is in the bundle, and beside it lies the bundle itself, atlas-mcp-VERSION.mcpb.
It holds ATLAS as a wheel; uv, which the host brings, installs the rest at the first start, in the versions of
requirements.lock. Needs the packages of the extra `dev`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROVIDERS = "anthropic,openai,google,ollama"


def main(folder: Path) -> Path:
    """Fill the folder, pack it, and give the bundle's path."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wheel = _wheel(folder)
    version = wheel.name.split("-")[1]
    manifest = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))
    _write(folder / "manifest.json", json.dumps(manifest | {"version": version}, indent=2) + "\n")
    _write(folder / "pyproject.toml", _project(wheel.name, version))
    shutil.copy(HERE / "main.py", folder)
    shutil.copy(ROOT / "LICENSE", folder)
    return _packed(folder, folder.with_name(f"atlas-mcp-{version}.mcpb"))


def _wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - nothing in it is a stranger's
    return next(folder.glob("*.whl"))


def _project(wheel: str, version: str) -> str:
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pinned = ",\n".join(f"  {json.dumps(line)}" for line in locked if re.match(r"[A-Za-z0-9]", line))
    python = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    return (
        f'[project]\nname = "atlas-mcp-bundle"\nversion = "{version}"\nrequires-python = "{python}"\n'
        f'dependencies = ["atlas-constellation[{PROVIDERS}]"]\n\n'
        f"[tool.uv]\npackage = false\nconstraint-dependencies = [\n{pinned},\n]\n\n"
        f'[tool.uv.sources]\natlas-constellation = {{ path = "{wheel}" }}\n'
    )


def _packed(folder: Path, bundle: Path) -> Path:
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return bundle


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / 'dist' / 'mcpb'))}\n")
