"""The assets of one chain: contracts, licenses, devices and seats, in a sequence of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from services.workload.client import Answer, Client, Refused
from services.workload.sender import Sender
from services.workload.things import Pharmacy

if TYPE_CHECKING:
    from services.workload.chain import Chain

_SEATS = 8


@dataclass(slots=True)
class Device:
    id: str
    pharmacy: Pharmacy
    status: str
    version: int


@dataclass(slots=True)
class License:
    id: str
    seats: int
    version: int


@dataclass(slots=True)
class Seat:
    """``holder``: license_id, user_id, device_id."""

    id: str
    license: License
    holder: dict[str, str | None]


class AssetDesk(Sender):
    """Begins when the chain has its people; ``thing`` is one thing that happens."""

    def __init__(self, chain: Chain, client: Client) -> None:
        super().__init__(client, chain.tally, chain.seed, chain.number)
        self.random = Random(f"{chain.seed}/{chain.number}/assets")  # its own: the chain's sequence stays what it is
        self.chain = chain
        self.devices: list[Device] = []
        self.seats: list[Seat] = []
        self._contract = ""
        self._of_users: License | None = None
        self._of_devices: License | None = None

    def key(self) -> str:
        self.attempts += 1
        return f"seed{self.seed}-assets{self.number}-{self.attempts:06d}"

    def open(self) -> None:
        self.tenant_id = self.chain.tenant_id
        body = {"number": f"C-{self.seed}-{self.number}", "starts_on": "2024-04-01"}
        self._contract = self._do("sign_contract", "/v1/contracts", body, "新規契約").id
        self._of_users = self._license("medication_record")
        self._of_devices = self._license("dispensing_audit")
        for pharmacy in self.chain.pharmacies[:3]:
            self._register(pharmacy)

    def thing(self) -> None:
        devices = [device for device in self.devices if device.status == "in_use"]
        lost = [device for device in self.devices if device.status == "lost"]
        happens: list[tuple[int, Callable[[], None]]] = [
            (3, lambda: self._register(self.random.choice(self.chain.pharmacies))),
            (6, self._assign_user),
        ]
        if devices:
            happens += [
                (4, lambda: self._assign_device(self.random.choice(devices))),
                (3, lambda: self._move(self.random.choice(devices))),
                (1, lambda: self._turn(self.random.choice(devices), "lose", "lost", "端末紛失の届出")),
                (1, lambda: self._turn(self.random.choice(devices), "retire", "retired", "端末廃棄")),
            ]
        if lost:
            happens.append((2, lambda: self._turn(self.random.choice(lost), "find", "in_use", "端末発見")))
        if self.seats:
            happens.append((4, lambda: self._release(self.random.choice(self.seats))))
        self.random.choices([what for _, what in happens], [weight for weight, _ in happens])[0]()

    def _license(self, product: str) -> License:
        path = f"/v1/contracts/{self._contract}/licenses"
        answer = self._do("issue_license", path, {"product": product, "seats": _SEATS}, "契約に基づく発行")
        return License(answer.id, _SEATS, answer.version)

    def _register(self, pharmacy: Pharmacy) -> None:
        body = {"pharmacy_id": pharmacy.id, "kind": "terminal", "serial": f"SN{self.number}-{self.attempts:05d}"}
        answer = self._do("register_device", "/v1/devices", body, "端末導入")
        self.devices.append(Device(answer.id, pharmacy, "in_use", answer.version))

    def _move(self, device: Device) -> None:
        elsewhere = [one for one in self.chain.pharmacies if one is not device.pharmacy]
        if elsewhere:
            pharmacy = self.random.choice(elsewhere)
            path = f"/v1/devices/{device.id}/move"
            answer = self._do("move_device", path, {"pharmacy_id": pharmacy.id}, "端末の配置換え", device.version)
            device.pharmacy, device.version = pharmacy, answer.version

    def _turn(self, device: Device, verb: str, status: str, reason: str) -> None:
        answer = self._do(f"{verb}_device", f"/v1/devices/{device.id}/{verb}", {}, reason, device.version)
        device.status, device.version = status, answer.version
        if status != "in_use":  # its seats are released with it
            self.seats = [seat for seat in self.seats if seat.holder["device_id"] != device.id]

    def _assign_user(self) -> None:
        users = [user for user in self.chain.users if user.status == "active"]
        if users and self._of_users is not None:
            self._assign(self._of_users, "user_id", self.random.choice(users).id)

    def _assign_device(self, device: Device) -> None:
        if self._of_devices is not None:
            self._assign(self._of_devices, "device_id", device.id)

    def _assign(self, license: License, kind: str, holder: str) -> None:
        """Refused where the holder has a seat already or all are held; then, half the time, there come to be more."""
        held = [seat for seat in self.seats if seat.license is license]
        path = f"/v1/licenses/{license.id}/assignments"
        try:
            answer = self._do("assign_seat", path, {kind: holder}, "利用開始")
        except Refused as refused:
            if refused.status != 409:
                raise
            assert len(held) == license.seats or any(seat.holder[kind] == holder for seat in held)
            self.conflicted()
            if len(held) == license.seats and self.random.random() < 0.5:
                self._resize(license, license.seats + 4)
            return
        told: dict[str, str | None] = {"license_id": license.id, "user_id": None, "device_id": None, kind: holder}
        self.seats.append(Seat(answer.id, license, told))

    def _resize(self, license: License, seats: int) -> None:
        path = f"/v1/licenses/{license.id}/resize"
        answer = self._do("resize_license", path, {"seats": seats}, "増席", license.version)
        license.seats, license.version = seats, answer.version

    def _release(self, seat: Seat) -> None:
        self._do("release_seat", f"/v1/assignments/{seat.id}/release", {}, "利用終了", 1)
        self.seats.remove(seat)

    def _do(self, what: str, path: str, body: dict[str, Any], reason: str, seen: int | None = None) -> Answer:
        answer = self.send(what, path, body, reason=reason, if_match=seen)
        self.chain.seen_at = answer.source_time
        return answer
