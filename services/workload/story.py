"""The protagonist: one user whose affiliation and rights change, each time by somebody and for a reason.

Nobody else of the workload touches this user, so that the state expected at each moment is known exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from services.workload.chain import Chain
from services.workload.client import Actor, Answer
from services.workload.names import Named
from services.workload.sender import HR, OPERATORS
from services.workload.things import Held, User

NAME = Named("高橋 美咲", "タカハシ ミサキ")


@dataclass(frozen=True, slots=True)
class Moment:
    """``at``: source time (ISO, UTC) from which the database shows it. ``access``: what is expected from then on."""

    at: str
    what: str
    actor: str
    reason: str
    access: dict[str, Any]


class Protagonist:
    steps = 13

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.user: User | None = None
        self.moments: list[Moment] = []
        self._steps = self._story()

    def next(self) -> bool:
        """Take the next step; False when the story is told. Raises as Chain.send does."""
        return next(self._steps, None) is not None

    def as_json(self) -> dict[str, Any]:
        return {
            "tenant_id": self.chain.tenant_id,
            "user_id": self.user and self.user.id,
            "name": NAME.name,
            "moments": [
                {"at": moment.at, "what": moment.what, "actor": moment.actor, "reason": moment.reason}
                for moment in self.moments
            ],
        }

    def oracle(self) -> dict[str, Any]:
        """The same with the state that each moment must show."""
        told = self.as_json()
        told["moments"] = [
            {**moment, "access": expected.access}
            for moment, expected in zip(told["moments"], self.moments, strict=True)
        ]
        return told

    def _story(self) -> Iterator[bool]:
        chain = self.chain
        sato, suzuki, tanaka, ito, _ = OPERATORS
        first, second, third = chain.pharmacies[:3]

        def tell(what: str, actor: Actor, reason: str, answer: Answer) -> bool:
            self.moments.append(Moment(answer.source_time, what, actor.id, reason, self._access()))
            return True

        def does(what: str, actor: Actor, reason: str, act: Callable[[str, Actor], Answer]) -> bool:
            return tell(what, actor, reason, act(reason, actor))

        self.user, invited = chain.invite(NAME, is_pharmacist=True, reason="新卒採用")
        yield tell("invited", HR, "新卒採用", invited)
        user = self.user
        yield does("activated", HR, "初回ログイン", lambda why, who: chain.activate(user, why, who))
        yield does(
            "assigned to the first pharmacy",
            suzuki,
            "新卒配属",
            lambda why, who: chain.assign(user, first, is_primary=True, reason=why, actor=who),
        )
        yield does(
            "made pharmacist there",
            suzuki,
            "配属に伴う権限付与",
            lambda why, who: chain.grant(user, "pharmacist", first, reason=why, actor=who),
        )
        yield does(
            "helps in a second pharmacy",
            tanaka,
            "応援勤務",
            lambda why, who: chain.assign(user, second, is_primary=False, reason=why, actor=who),
        )
        yield does(
            "made manager of the first pharmacy",
            sato,
            "管理薬剤師に任命",
            lambda why, who: chain.grant(user, "manager", first, reason=why, actor=who),
        )
        to = next(o for o in chain.organisations if o is not first.organisation)
        yield does(
            "the first pharmacy changes hands",
            ito,
            "事業譲渡",
            lambda why, who: chain.hand_over(first, to, why, who),
        )
        yield does(
            "made administrator of the whole chain",
            ito,
            "障害対応のため一時付与",
            lambda why, who: chain.grant(user, "administrator", None, reason=why, actor=who),
        )
        yield does(
            "transferred to the third pharmacy",
            suzuki,
            "定期異動",
            lambda why, who: chain.move(user.memberships[0], third, why, who),
        )
        yield does(
            "no longer manager",
            suzuki,
            "定期異動に伴う権限整理",
            lambda why, who: chain.revoke(user, _role(user, "manager"), why, who),
        )
        yield does("suspended", sato, "権限の棚卸で調査", lambda why, who: chain.suspend(user, why, who))
        yield does(
            "no longer administrator",
            sato,
            "一時付与の剥奪漏れ",
            lambda why, who: chain.revoke(user, _role(user, "administrator"), why, who),
        )
        yield does("active again", sato, "調査終了", lambda why, who: chain.activate(user, why, who))

    def _access(self) -> dict[str, Any]:
        assert self.user is not None
        return {
            "status": self.user.status,
            "memberships": sorted(
                (
                    {
                        "pharmacy_id": held.pharmacy.id,
                        "pharmacy": held.pharmacy.named.name,
                        "organisation_id": held.pharmacy.organisation.id,
                        "organisation": held.pharmacy.organisation.named.name,
                        "is_primary": held.is_primary,
                    }
                    for held in self.user.memberships
                    if held.pharmacy is not None
                ),
                key=lambda row: str(row["pharmacy_id"]),
            ),
            "roles": sorted(
                ({"role": held.role, "pharmacy_id": held.pharmacy and held.pharmacy.id} for held in self.user.roles),
                key=lambda row: str(row["role"]),
            ),
        }


def _role(user: User, role: str) -> Held:
    return next(held for held in user.roles if held.role == role)
