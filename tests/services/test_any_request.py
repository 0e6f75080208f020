"""Whatever a client sends, no service fails: schemathesis makes requests from each service's own OpenAPI document.

Half of them are as the document says, half are not; half of both act for a tenant that exists, on ids that exist, and
so get past the first refusal. ``RIREKI_EXAMPLES=500`` makes more of them; the seed of a failure is printed.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok

from infra.postgres import Postgres
from tests.services.auth.conftest import Auth, auth_on
from tests.services.conftest import TOKEN, Api, Assets, cloned, served

EXAMPLES = int(os.environ.get("RIREKI_EXAMPLES", "4"))
SEED = int(os.environ.get("RIREKI_SEED", "0")) or uuid.uuid4().int % 2**32
SERVICES = ("directory", "asset", "auth")


@dataclass(frozen=True)
class Known:
    """Where each service listens, a tenant that exists, and ids of what is in it."""

    urls: dict[str, str]
    tenant: str
    ids: list[str]


@pytest.fixture(scope="module")
def known(postgres: Postgres, template: str) -> Iterator[Known]:
    with cloned(postgres, template) as platform, auth_on(platform) as auth, served(platform, "asset") as asset:
        assets = Assets(Api(asset.http, platform), Api(auth.directory.http, platform))
        tenant = assets.found()
        yield Known(_urls(auth, asset), tenant, [tenant, *_one_of_each(assets, auth, tenant)])


def _urls(auth: Auth, asset: Api) -> dict[str, str]:
    return {"directory": str(auth.directory.http.base_url), "asset": str(asset.http.base_url), "auth": auth.issuer}


def _one_of_each(assets: Assets, auth: Auth, tenant: str) -> list[str]:
    member = auth.member(tenant=tenant)
    pharmacy = assets.pharmacy()
    license = assets.license(3)
    assigned = assets.assign(license, user_id=member.id)
    made = [pharmacy, license["id"], license["contract_id"], assigned["id"], assets.device(pharmacy)["id"], member.id]
    membership = assets.directory.do(f"/v1/users/{member.id}/memberships", {"pharmacy_id": pharmacy})
    return [*made, membership["id"]]


def _operations(url: str) -> Iterator[Any]:
    for result in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
        assert isinstance(result, Ok), result
        yield result.ok()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("service", SERVICES)
def test_no_request_makes_a_service_fail(service: str, known: Known) -> None:
    url = known.urls[service]
    answered: dict[int, int] = {}
    print(f"RIREKI_SEED={SEED}")

    def hold(operation: Any, mode: GenerationMode) -> None:
        @seed(SEED)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), further=st.booleans(), data=st.data())
        def no_failure(case: Case, further: bool, data: st.DataObject) -> None:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            if further:
                headers |= {"X-Tenant": known.tenant, "X-Actor": "fuzz", "Idempotency-Key": f"key-{uuid.uuid4()}"}
                headers |= {"If-Match": data.draw(st.sampled_from(['"1"', '"2"']))}
                for name in case.path_parameters or {}:
                    case.path_parameters[name] = data.draw(st.sampled_from(known.ids))
            answer = case.call(headers=headers, timeout=30)
            answered[answer.status_code] = answered.get(answer.status_code, 0) + 1
            assert answer.status_code < 500, f"{case.as_curl_command()}\n{answer.status_code} {answer.text}"

        no_failure()

    for operation in _operations(url):
        hold(operation, GenerationMode.POSITIVE)
        with suppress(Unsatisfiable):  # nothing that it takes could be wrong
            hold(operation, GenerationMode.NEGATIVE)

    print(answered)
    # It has looked further than the door.
    assert {200, 422} <= answered.keys() and answered.keys() & {404, 400}, answered
