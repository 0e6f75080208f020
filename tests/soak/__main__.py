"""``make soak``: rounds of random work and random crashes, compared with the source by value, seed after seed."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from infra.object_store import S3Server
from infra.postgres import Postgres
from infra.state import StateFolder
from tests.soak.rounds import Mismatch, run_round

SETTINGS = {"autovacuum": "off"}  # rows stay where the authors put them


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, help="run this one round, again")
    parser.add_argument("--seconds", type=float, default=20.0, help="of work in a round")
    parser.add_argument("--first", type=int, default=secrets.randbelow(10**6), help="the first seed; random unless set")
    asked = parser.parse_args()
    ends = time.monotonic() + asked.minutes * 60
    seeds = [asked.seed] if asked.seed is not None else range(asked.first, 10**9)
    path = Path(tempfile.mkdtemp(prefix="rireki-soak-"))
    path.chmod(0o755)
    failed = 0
    with StateFolder(path / "state") as state, S3Server.start(state) as s3:
        with Postgres.start(state, durable=False, settings=SETTINGS) as server:
            for seed in seeds:
                if time.monotonic() > ends:
                    break
                folder = path / f"round-{seed}"
                folder.mkdir()
                try:
                    print(run_round(seed, server, s3, folder, asked.seconds), flush=True)
                    shutil.rmtree(folder)
                except Mismatch as error:
                    failed += 1
                    print(f"MISMATCH {error}", flush=True)
        state.destroy()
    if not failed:
        shutil.rmtree(path)
    print(f"{failed} rounds with a mismatch" if failed else "no mismatch", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
