"""The deployment's PostgreSQL as a process: run by path, by the Python of the real Letta's own environment.

    python tests/deploy/postgres.py SQL_FILE       the first line printed is its port; it ends when standard input ends

A new database with pgvector and the user of the compose file, in which that file was run as the image would run it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import real_letta_house as house  # pyright: ignore[reportMissingImports]  # beside this folder, for scripts


def main(statements: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="atlas-postgres-") as name:
        work = Path(name)
        work.chmod(0o755)
        bins, data = house.programs(work), work / "pgdata"
        data.mkdir(mode=0o700)
        house.give(data)
        init = [str(bins / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync"]
        subprocess.run(init, check=True, stdout=sys.stderr, user=house.account(), cwd=data)
        with house.postgres(bins, data, work / "postgres.log") as address:
            psql = [str(bins / "psql"), "-v", "ON_ERROR_STOP=1", "--quiet"]
            subprocess.run([*psql, f"{address}/postgres", "-c", "create role atlas superuser login"], check=True)
            # The image makes the database of its user.
            subprocess.run([*psql, f"{address}/postgres", "-c", "create database atlas owner atlas"], check=True)
            as_atlas = address.replace("postgres@", "atlas@")
            subprocess.run([*psql, f"{as_atlas}/postgres"], check=True, input=statements.read_bytes())
            sys.stdout.write(f"{address.rpartition(':')[2]}\n")
            sys.stdout.flush()
            sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
