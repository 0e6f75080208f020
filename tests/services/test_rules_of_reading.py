"""Reading a page, and the history of one."""

from __future__ import annotations

from tests.services.conftest import Api


def test_pages_show_every_row_once(api: Api) -> None:
    api.found()
    made = {api.organisation()["id"] for _ in range(5)}

    seen: list[str] = []
    after = ""
    while True:
        page = api.get(f"/v1/organisations?limit=2{after}").json()
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"

    assert len(seen) == 5
    assert set(seen) == made


def test_the_history_of_an_aggregate_reads_from_its_beginning(api: Api) -> None:
    api.found()
    user = api.user()
    api.do(f"/v1/users/{user['id']}/activate", version=1)
    api.do(f"/v1/users/{user['id']}/suspend", version=2)

    first = api.get(f"/v1/events?aggregate_id={user['id']}&limit=2").json()
    rest = api.get(f"/v1/events?aggregate_id={user['id']}&after_version={first['next']}").json()

    assert [event["event_type"] for event in first["items"] + rest["items"]] == [
        "user.invited",
        "user.activated",
        "user.suspended",
    ]
    assert rest["next"] is None
