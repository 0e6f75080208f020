"""One tenant: what is there, as far as this workload made it, and the things that happen in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

from services.workload import names
from services.workload.assets import AssetDesk
from services.workload.client import Actor, Answer, Client, Refused, Tally
from services.workload.sender import HR, OPERATORS, Sender
from services.workload.things import Held, Organisation, Pharmacy, User

ROLES = ("manager", "pharmacist", "clerk", "auditor")


class Chain(Sender):
    """A tenant under way. ``budget``: how many commands it may carry out."""

    def __init__(self, client: Client, tally: Tally, seed: int, number: int, pharmacies: int, budget: int) -> None:
        super().__init__(client, tally, seed, number)
        self.pharmacy_count = pharmacies
        self.budget = budget
        self.brand = names.BRANDS[(seed + number) % len(names.BRANDS)]
        self.organisations: list[Organisation] = []
        self.pharmacies: list[Pharmacy] = []
        self.users: list[User] = []
        self.retired: list[str] = []
        self.assets: AssetDesk | None = None

    # What is there to begin with

    def found(self) -> None:
        brand, kana, _ = self.brand
        company = names.Named(f"株式会社{brand}薬局", f"カブシキガイシャ{kana}ヤッキョク")
        answer = self.send(
            "create_tenant",
            "/v1/tenants",
            {"name": company.name, "kana": company.kana, "corporate_number": f"{self.random.randrange(10**13):013d}"},
            reason="新規契約",
        )
        self.tenant_id = answer.id
        root = self.register_organisation(company, "company", None)
        if self.pharmacy_count > 2:
            for area, area_kana in names.AREAS[: 2 if self.pharmacy_count < 30 else 4]:
                self.register_organisation(names.Named(f"{area}支社", f"{area_kana}シシャ"), "area", root)
        for number in range(self.pharmacy_count):
            self.register_pharmacy(number)

    def register_organisation(self, named: names.Named, kind: str, parent: Organisation | None) -> Organisation:
        answer = self.send(
            "register_organisation",
            "/v1/organisations",
            {"name": named.name, "kana": named.kana, "kind": kind, "parent_id": parent and parent.id},
            reason="組織登録",
        )
        organisation = Organisation(answer.id, named, answer.version, named)
        self.organisations.append(organisation)
        return organisation

    def register_pharmacy(self, number: int) -> Pharmacy:
        random = self.random
        named, prefecture = names.branch(self.brand, number)
        organisation = random.choice(self.organisations)
        year = random.randrange(1985, 2026)
        body: dict[str, Any] = {
            "organisation_id": organisation.id,
            "name": named.name,
            "kana": named.kana,
            "prefecture": prefecture,
            "opened_on": f"{year}-{random.randrange(1, 13):02d}-01",
            "dispensing_area_m2": f"{random.randrange(660, 9000) / 100:.2f}",  # 6.6 m² is the least allowed
            "opening_hours": {
                day: ["09:00", random.choice(("18:00", "18:30", "19:00"))]
                for day in ("mon", "tue", "wed", "thu", "fri")
            },
            "services": sorted(random.sample(["home_visit", "sterile", "night", "holiday"], random.randrange(0, 4))),
            "accepts_e_prescription": random.random() < 0.6,
            "effective_at": f"{year}-04-01T00:00:00+09:00",
        }
        since = date(year, 4, 1)
        if random.random() < 0.9:  # the others wait for their designation
            body |= {"code": f"{random.randrange(10**10):010d}", "code_valid_from": since.isoformat()}
        answer = self.send("register_pharmacy", "/v1/pharmacies", body, reason="店舗登録")
        codes = [(since, body["code"])] if "code" in body else []
        pharmacy = Pharmacy(answer.id, named, organisation, answer.version, [(since, organisation.id)], codes)
        self.pharmacies.append(pharmacy)
        return pharmacy

    # What happens

    def hire(self) -> User:
        named = names.person(self.random)
        if self.users and self.random.random() < 0.05:
            named = self.random.choice(self.users).named  # another person of the same name
        user, _ = self.invite(named, is_pharmacist=self.random.random() < 0.6)
        self.users.append(user)
        self.activate(user, "初回ログイン")
        self.assign(user, self.random.choice(self.pharmacies), is_primary=True, reason="配属")
        self.grant(user, self.random.choice(ROLES[1:3]), user.memberships[0].pharmacy, reason="配属に伴う権限付与")
        return user

    def invite(self, named: names.Named, *, is_pharmacist: bool, reason: str = "入社") -> tuple[User, Answer]:
        answer = self.send(
            "invite_user",
            "/v1/users",
            {
                "name": named.name,
                "kana": named.kana,
                "email": f"u{self.attempts:05d}.{self.seed}@{self.brand[2]}{self.number}.example",
                "is_pharmacist": is_pharmacist,
                "hired_on": f"{self.random.randrange(2000, 2026)}-04-01",
            },
            reason=reason,
            actor=HR,
        )
        return User(answer.id, named, "invited", answer.version), answer

    def activate(self, user: User, reason: str, actor: Actor | None = None) -> Answer:
        return self._turn(user, "activate", "active", reason, actor)

    def suspend(self, user: User, reason: str, actor: Actor | None = None) -> Answer:
        return self._turn(user, "suspend", "suspended", reason, actor)

    def retire(self, user: User) -> None:
        self._turn(user, "retire", "retired", "退職", HR)
        user.memberships.clear()
        user.roles.clear()
        self.users.remove(user)
        self.retired.append(user.id)

    def _turn(self, user: User, verb: str, status: str, reason: str, actor: Actor | None) -> Answer:
        answer = self.send(
            f"{verb}_user", f"/v1/users/{user.id}/{verb}", {}, reason=reason, if_match=user.version, actor=actor
        )
        user.status, user.version = status, answer.version
        return answer

    def assign(
        self, user: User, pharmacy: Pharmacy, *, is_primary: bool, reason: str, actor: Actor | None = None
    ) -> Answer:
        answer = self.send(
            "assign_membership",
            f"/v1/users/{user.id}/memberships",
            {"pharmacy_id": pharmacy.id, "is_primary": is_primary, "weekly_hours": "40.00" if is_primary else "7.50"},
            reason=reason,
            actor=actor,
        )
        user.memberships.append(Held(answer.id, pharmacy, is_primary))
        return answer

    def move(self, held: Held, pharmacy: Pharmacy, reason: str, actor: Actor | None = None) -> Answer:
        answer = self.send(
            "transfer_membership",
            f"/v1/memberships/{held.id}/transfer",
            {"pharmacy_id": pharmacy.id},
            reason=reason,
            if_match=1,
            actor=actor,
        )
        held.id, held.pharmacy = answer.id, pharmacy
        return answer

    def grant(
        self, user: User, role: str, pharmacy: Pharmacy | None, *, reason: str, actor: Actor | None = None
    ) -> Answer:
        answer = self.send(
            "grant_role",
            f"/v1/users/{user.id}/role-grants",
            {"role": role, "pharmacy_id": pharmacy and pharmacy.id},
            reason=reason,
            actor=actor,
        )
        user.roles.append(Held(answer.id, pharmacy, role=role))
        return answer

    def revoke(self, user: User, held: Held, reason: str, actor: Actor | None = None) -> Answer:
        answer = self.send(
            "revoke_role", f"/v1/role-grants/{held.id}/revoke", {}, reason=reason, if_match=1, actor=actor
        )
        user.roles.remove(held)
        return answer

    def hand_over(
        self, pharmacy: Pharmacy, organisation: Organisation, reason: str, actor: Actor | None = None
    ) -> Answer:
        body: dict[str, Any] = {"organisation_id": organisation.id}
        day = date.max  # from now on, which is later than any day that the oracle asks about
        if self.random.random() < 0.5:  # a new designation, back-dated; no two of one pharmacy begin on one day
            day = date(2026, 5, 1) + timedelta(days=pharmacy.version)
            body |= {"code": f"{self.random.randrange(10**10):010d}", "code_valid_from": day.isoformat()}
            body["effective_at"] = f"{day.isoformat()}T00:00:00+09:00"
        answer = self.send(
            "transfer_pharmacy",
            f"/v1/pharmacies/{pharmacy.id}/transfer",
            body,
            reason=reason,
            if_match=pharmacy.version,
            actor=actor,
        )
        pharmacy.organisation, pharmacy.version = organisation, answer.version
        pharmacy.run_by.append((day, organisation.id))
        if "code" in body:
            pharmacy.codes.append((day, body["code"]))
        return answer

    def rename(self, organisation: Organisation, *, stale: bool) -> None:
        """``stale``: by somebody who read it before another changed it; refused, read again, decided again."""
        seen = organisation.version
        if stale:
            self._rename(organisation, "社名変更の準備", seen)
            try:
                self._rename(organisation, "社名変更", seen)
            except Refused as refused:
                if refused.status != 412:
                    raise
                self.conflicted()
            seen = int(self.client.read(f"/v1/organisations/{organisation.id}", self.tenant_id or "")["version"])
        self._rename(organisation, "社名変更", seen)

    def _rename(self, organisation: Organisation, reason: str, seen: int) -> None:
        first = organisation.first_named
        # From a small set: an organisation that is renamed a thousand times has had few names.
        others = [
            named
            for ending, kana in names.ENDINGS
            if (named := names.Named(first.name + ending, first.kana + kana)) != organisation.named
        ]
        named = self.random.choice(others)
        answer = self.send(
            "rename_organisation",
            f"/v1/organisations/{organisation.id}/rename",
            {"name": named.name, "kana": named.kana},
            reason=reason,
            if_match=seen,
        )
        organisation.named, organisation.version = named, answer.version

    def paperwork(self) -> None:
        """What happens once in a chain's life."""
        random, company = self.random, self.organisations[0]
        name = {"name": f"{company.named.name}HD", "kana": f"{company.named.kana}ホールディングス"}
        self._do("rename_tenant", "/v1/tenant/rename", name, "社名変更", 1)
        office = self.register_organisation(names.Named("準備室", "ジュンビシツ"), "division", company)
        self.organisations.remove(office)
        path = f"/v1/organisations/{office.id}"
        moved = self._do("move_organisation", f"{path}/move", {"parent_id": None}, "組織改編", office.version)
        self._do("close_organisation", f"{path}/close", {}, "準備室の廃止", moved.version)
        shop = self.register_pharmacy(len(self.pharmacies))
        self.pharmacies.remove(shop)
        path = f"/v1/pharmacies/{shop.id}"
        name = {"name": f"{shop.named.name} 別館", "kana": f"{shop.named.kana} ベッカン"}
        renamed = self._do("rename_pharmacy", f"{path}/rename", name, "改称", shop.version)
        code = {"code": f"{random.randrange(10**10):010d}", "valid_from": "2026-05-01"}
        designated = self._do("designate_pharmacy", f"{path}/designate", code, "指定更新", renamed.version)
        self._do("close_pharmacy", f"{path}/close", {"closed_on": "2026-09-30"}, "閉店", designated.version)
        user, _ = self.invite(names.person(random), is_pharmacist=False, reason="内定")
        path = f"/v1/users/{user.id}"
        married = {"name": f"{user.named.name}（改姓）", "kana": f"{user.named.kana} カイセイ"}
        renamed = self._do("rename_user", f"{path}/rename", married, "改姓", user.version)
        address = {"email": f"u{self.attempts:05d}.{self.seed}.new@{self.brand[2]}{self.number}.example"}
        identified = self._do("identify_user", f"{path}/identify", address, "改姓", renamed.version)
        self._do("retire_user", f"{path}/retire", {}, "内定辞退", identified.version)

    def _do(self, what: str, path: str, body: dict[str, Any], reason: str, seen: int) -> Answer:
        return self.send(what, path, body, reason=reason, if_match=seen)

    def race(self, user: User) -> None:
        """Two operators suspend one user at the same moment: one does, the other is told that it changed meanwhile."""
        path = f"/v1/users/{user.id}/suspend"
        keys = (self.key(), self.key())

        def suspend(key: str) -> Answer | None:
            try:
                return self.client.command(
                    path,
                    {"reason": "端末紛失の届出"},
                    key=key,
                    actor=OPERATORS[0],
                    tenant=self.tenant_id,
                    if_match=user.version,
                )
            except Refused as refused:
                if refused.status != 412:
                    raise
                self.conflicted()
                return None

        with ThreadPoolExecutor(2) as both:
            won = [answer for answer in both.map(suspend, keys) if answer is not None]
        user.status, user.version = "suspended", won[0].version
        self.seen_at = won[0].source_time
        self.count("suspend_user", path)
