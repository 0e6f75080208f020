"""``make bench-services``: the license check under 200 clients, beside a bare ``SELECT 1`` through the same pool.

Both are asked over HTTP of one asset service (a process of its own, as it runs in production), in turn, by the same
clients on kept connections: /healthz is the bare SELECT. Prints p50 and p99 of both, and their ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import httpx

from infra.postgres import Postgres
from infra.state import StateFolder
from services.migrate.apply import migrate
from tests.conftest import Database
from tests.services.conftest import PASSWORD, PASSWORDS, TOKEN, Api, Assets, Platform, served


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.services", description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=10_000, help="of each kind, in each run")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores; {given.clients} clients, {given.requests} requests a run")
    with tempfile.TemporaryDirectory(prefix="rireki-bench-") as folder:
        Path(folder).chmod(0o755)
        with StateFolder(Path(folder) / "state") as state, Postgres.start(state, durable=False) as server:
            server.create_database("platform")
            migrate(server.dsn("platform"), PASSWORDS)
            checks = _prepare(Platform(Database(server, "platform")))
            return asyncio.run(_measure(server.dsn("platform", user="asset", password=PASSWORD), checks, given))


def _prepare(platform_: Platform) -> list[tuple[str, str]]:
    """(path, tenant) of checks that open: 4 tenants with 50 users each."""
    checks = []
    with served(platform_) as directory, served(platform_, "asset") as asset:
        for _ in range(4):
            assets = Assets(Api(asset.http, platform_), Api(directory.http, platform_))
            tenant = assets.found()
            license = assets.license(100)
            for _ in range(50):
                user = assets.user()
                assets.assign(license, user_id=user)
                checks.append((f"/v1/licenses/check?product=medication_record&user_id={user}", tenant))
    with platform_.database.connect() as admin:
        admin.execute("VACUUM ANALYZE")
    return checks


async def _measure(dsn: str, checks: list[tuple[str, str]], given: argparse.Namespace) -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "ASSET_DSN": dsn, "ASSET_TOKEN": TOKEN}
    command = [sys.executable, "-m", "services.asset", "--port", str(port), "--no-access-log"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    ratios: list[tuple[float, float]] = []
    try:
        _wait(port)
        for run in range(given.runs + 1):
            bare = await _ask(port, [("/healthz", str(uuid.uuid4()))], given.clients, given.requests)
            check = await _ask(port, checks, given.clients, given.requests)
            if run == 0:
                continue  # a warm-up: plans, pools, caches
            ratios.append((check[0] / bare[0], check[1] / bare[1]))
            print(
                f"run {run}: SELECT 1 p50 {bare[0]:.1f} ms p99 {bare[1]:.1f} ms; "
                f"check p50 {check[0]:.1f} ms p99 {check[1]:.1f} ms, {check[2]:,.0f}/s; "
                f"ratio p50 {ratios[-1][0]:.2f}, p99 {ratios[-1][1]:.2f}"
            )
    finally:
        process.terminate()
        process.wait(20)
    p50, p99 = (statistics.median(ratio[i] for ratio in ratios) for i in (0, 1))
    print(f"license check / bare SELECT, median of {len(ratios)}: p50 {p50:.2f}, p99 {p99:.2f} (at most 3 is promised)")
    return 0 if max(p50, p99) <= 3 else 1


async def _ask(port: int, requests: list[tuple[str, str]], clients: int, count: int) -> tuple[float, float, float]:
    """p50 and p99 in ms, and requests per second, of ``count`` requests sent by ``clients`` at once."""
    latencies: list[float] = []
    left = iter(range(count))

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in left:
            path, tenant = requests[(number + turn) % len(requests)]
            began = time.perf_counter()
            headers = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\nX-Tenant: {tenant}"
            writer.write(f"GET {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            latencies.append((time.perf_counter() - began) * 1000)
            assert head.startswith(b"HTTP/1.1 200") and (b'"allowed":true' in body or b'"database":true' in body), body
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    seconds = time.perf_counter() - began
    ordered = sorted(latencies)
    return ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], len(ordered) / seconds


def _wait(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise TimeoutError("the asset service didn't start")


if __name__ == "__main__":
    sys.exit(main())
