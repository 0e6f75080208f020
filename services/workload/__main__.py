"""``python -m services.workload --url http://127.0.0.1:8000 --seed 1 --changes 1000``.

The token comes from the environment variable that ``--token-env`` names. The same seed makes the same commands under
the same keys: run again against the same database, it changes nothing and gets the same answers.
With ``--json`` the last line is one object: seed, changes, seconds, commands, replayed, conflicts, reconnects, tenants,
digest, protagonist {tenant_id, user_id, name, moments: [{at, what, actor, reason}]}.
Exit codes: 0 done, 1 stopped early, 2 failed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from services.workload.client import Refused, ServiceAway
from services.workload.run import FEWEST_CHANGES, Plan, run


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.workload", description="Drive the directory over HTTP.")
    parser.add_argument("--url", required=True, help="where the directory listens, e.g. http://127.0.0.1:8000")
    parser.add_argument("--token-env", default="DIRECTORY_TOKEN", help="variable that holds the token (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--changes", type=int, default=1000, help=f"commands in all, at least {FEWEST_CHANGES}")
    parser.add_argument("--tenants", type=int, default=4)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--pace", type=float, default=0.0, help="commands per second; 0: as fast as they come")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds that the service may be away")
    parser.add_argument("--watch-user-file", type=Path, help="keep the protagonist's moments so far in this file")
    parser.add_argument(
        "--oracle", type=Path, help="write what must have been true: the protagonist's moments, random instants"
    )
    parser.add_argument("--asset-url", help="where the asset service listens; without it, it is left alone")
    parser.add_argument("--asset-token-env", default="ASSET_TOKEN", help="its token's variable (%(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of words")
    given = parser.parse_args(arguments)
    if given.changes < FEWEST_CHANGES:
        parser.error(f"--changes must be at least {FEWEST_CHANGES}, got {given.changes}")
    if given.tenants < 1 or given.threads < 1:
        parser.error("--tenants and --threads must be at least 1")
    token = os.environ.get(given.token_env)
    if not token:
        parser.error(f"the environment variable {given.token_env} holds no token: set it to the directory's")
    asset_token = os.environ.get(given.asset_token_env, "")
    if given.asset_url and not asset_token:
        parser.error(f"the environment variable {given.asset_token_env} holds no token: set it to the asset service's")

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    plan = Plan(
        given.url,
        token,
        given.seed,
        given.changes,
        tenants=given.tenants,
        threads=given.threads,
        pace_per_second=given.pace,
        patience_seconds=given.patience,
        watch_user_file=given.watch_user_file,
        oracle_file=given.oracle,
        asset_url=given.asset_url,
        asset_token=asset_token,
    )
    try:
        figures = run(plan, stop)
    except ServiceAway as error:
        sys.stderr.write(f"{given.url}: no answer for {given.patience:g} s ({error})\n  fix: start the directory\n")
        return 2
    except Refused as error:
        sys.stderr.write(f"{given.url}: {error}\n  fix: {error.problem.get('fix', 'check the URL')}\n")
        return 2
    if given.json:
        sys.stdout.write(json.dumps(figures, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(
            f"{figures['changes']} changes in {figures['seconds']:.1f} s, {figures['replayed']} answered again, "
            f"{figures['conflicts']} conflicts retried\n"
            f"follow {figures['protagonist']['name']}: user {figures['protagonist']['user_id']}\n"
        )
    return 1 if stop.is_set() else 0


if __name__ == "__main__":
    sys.exit(main())
