"""Several chains at once, each in its thread, until each has spent its share of the changes."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from services.workload.assets import AssetDesk
from services.workload.chain import Chain
from services.workload.client import Client, Pace, Stopped, Tally
from services.workload.oracle import Oracle
from services.workload.story import Protagonist

FEWEST_CHANGES = 60  # the protagonist's story and somebody to share the chain with


@dataclass(frozen=True, slots=True)
class Plan:
    url: str
    token: str
    seed: int
    changes: int
    tenants: int = 4
    threads: int = 4
    pace_per_second: float = 0.0
    patience_seconds: float = 60.0
    watch_user_file: Path | None = None
    oracle_file: Path | None = None
    asset_url: str | None = None  # None: contracts, licenses and devices are left alone
    asset_token: str = field(default="", repr=False)


def run(plan: Plan, stop: threading.Event) -> dict[str, Any]:
    """The figures. Raises Refused, ServiceAway; ends early, with what was done, when ``stop`` is set."""
    tally = Tally()
    pace = Pace(plan.pace_per_second)
    started = time.monotonic()

    def client(url: str = plan.url, token: str = plan.token) -> Client:
        return Client(url, token, tally, pace, stop, patience_seconds=plan.patience_seconds)

    tenants = max(1, min(plan.tenants, plan.changes // FEWEST_CHANGES))
    share, rest = divmod(plan.changes, tenants)
    sizes = _sizes(plan.seed, tenants, share)
    chains = [
        Chain(client(), tally, plan.seed, number, sizes[number], share + (rest if number == 0 else 0))
        for number in range(tenants)
    ]
    if plan.asset_url is not None:
        for chain in chains:
            chain.assets = AssetDesk(chain, client(plan.asset_url, plan.asset_token))
    oracles = {chain.number: Oracle(chain) for chain in chains}
    protagonist = Protagonist(chains[0])

    def watch() -> None:
        if plan.watch_user_file is not None:
            _write(plan.watch_user_file, protagonist.as_json())

    def live(chain: Chain) -> None:
        try:
            _live(chain, oracles[chain.number], protagonist if chain is chains[0] else None, watch)
        except Stopped:
            pass
        except BaseException:
            stop.set()  # one chain failed: the figures of the others would not mean what was asked
            raise
        finally:
            chain.client.close()
            if chain.assets is not None:
                chain.assets.client.close()

    with ThreadPoolExecutor(plan.threads) as pool:
        futures = [pool.submit(live, chain) for chain in chains]
    for future in futures:
        future.result()
    if plan.oracle_file is not None:
        instants = [instant for oracle in oracles.values() for instant in oracle.instants]
        _write(plan.oracle_file, {**protagonist.oracle(), "instants": instants})
    return {
        "seed": plan.seed,
        "changes": sum(tally.commands.values()),
        "seconds": round(time.monotonic() - started, 3),
        "commands": dict(sorted(tally.commands.items())),
        "replayed": tally.replayed,
        "conflicts": tally.conflicts,
        "reconnects": tally.reconnects,
        "tenants": [chain.tenant_id for chain in chains if chain.tenant_id],
        "digest": hashlib.sha256("\n".join(line for chain in chains for line in chain.told).encode()).hexdigest()[:16],
        "protagonist": protagonist.as_json(),
    }


def _live(chain: Chain, oracle: Oracle, protagonist: Protagonist | None, watch: Callable[[], None]) -> None:
    chain.found()
    chain.paperwork()
    grown = chain.done + (chain.budget - chain.done) * 45 // 100
    while chain.done < grown:
        chain.hire()
        oracle.look()
    if chain.assets is not None:
        chain.assets.open()
    steps = protagonist.steps if protagonist is not None else 1
    every = max(1, (chain.budget - chain.done - 2 * steps) // steps)
    due = chain.done
    while chain.done < chain.budget:
        if protagonist is not None and chain.done >= due:
            if protagonist.next():
                watch()
                due = chain.done + every
                continue
            protagonist = None
        _something(chain)
        if chain.assets is not None:
            chain.assets.thing()
        oracle.look()
    while protagonist is not None and protagonist.next():
        watch()


_WEIGHTS = {
    "hire": 14,
    "move": 22,
    "grant": 14,
    "revoke": 10,
    "help": 8,
    "suspend": 6,
    "resume": 8,
    "retire": 6,
    "hand_over": 4,
    "rename": 3,
    "stale": 3,  # decided on a version that is no longer there
    "race": 2,
}


def _something(chain: Chain) -> None:
    """One thing that happens on an ordinary day."""
    random = chain.random
    what = random.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]
    active = [user for user in chain.users if user.status == "active"]
    suspended = [user for user in chain.users if user.status == "suspended"]
    if len(active) < 3 or what == "hire":
        chain.hire()
        return
    user = random.choice(active)
    elsewhere = [p for p in chain.pharmacies if all(held.pharmacy is not p for held in user.memberships)]
    match what:
        case "move" if elsewhere:
            chain.move(random.choice(user.memberships), random.choice(elsewhere), "定期異動")
        case "help" if elsewhere and len(user.memberships) < 3:
            chain.assign(user, random.choice(elsewhere), is_primary=False, reason="応援勤務")
        case "revoke" if user.roles:
            chain.revoke(user, random.choice(user.roles), "権限の棚卸")
        case "suspend":
            chain.suspend(user, "休職")
        case "resume" if suspended:
            chain.activate(random.choice(suspended), "復職")
        case "retire":
            chain.retire(user)
        case "hand_over" if len(chain.organisations) > 1:
            pharmacy = random.choice(chain.pharmacies)
            chain.hand_over(
                pharmacy, random.choice([o for o in chain.organisations if o is not pharmacy.organisation]), "事業譲渡"
            )
        case "rename" | "stale":
            chain.rename(random.choice(chain.organisations), stale=what == "stale")
        case "race":
            chain.race(user)
        case _:
            places = [*chain.pharmacies, None]
            free = [
                (role, place)
                for role in ("manager", "pharmacist", "clerk", "auditor")
                for place in places[:6]
                if all((held.role, held.pharmacy) != (role, place) for held in user.roles)
            ]
            if free:
                role, place = random.choice(free)
                chain.grant(user, role, place, reason="業務追加")
            else:
                chain.suspend(user, "休職")


def _sizes(seed: int, tenants: int, share: int) -> list[int]:
    """Stores per chain as in Japan (1: 28 %, 2–9: 36 %, 10–99: 24 %, 100 and more: 12 %), within a chain's share.

    The first chain has at least three: the protagonist moves between them.
    """
    random = Random(f"{seed}/sizes")
    sizes = []
    for number in range(tenants):
        low, high = random.choices(((1, 1), (2, 9), (10, 99), (100, 400)), (28, 36, 24, 12))[0]
        size = min(random.randint(low, high), share // 5)
        sizes.append(max(size, 3 if number == 0 else 1))
    return sizes


def _write(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all, for whoever reads it meanwhile."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
    os.replace(beside, path)  # noqa: PTH105
