"""The edge at which notices leave, through Apprise: webhooks, chat, mail, pagers, whatever ``alerts.urls`` names."""

from __future__ import annotations

import time
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

import apprise

from pipelines.alerts import Kind, Notice, Undelivered
from pipelines.bounded import ask
from pipelines.sections import Alerts

PATIENCE_S = 20.0  # for all of them together: a sensor's look must end within a minute

_TYPES = {
    Kind.FIRING: apprise.NotifyType.FAILURE,
    Kind.REMINDER: apprise.NotifyType.WARNING,
    Kind.RESOLVED: apprise.NotifyType.SUCCESS,
}
_TAKES_FIELDS = frozenset({"json", "jsons", "form", "forms", "xml", "xmls"})  # Apprise's plain webhooks


def deliver(alerts: Alerts, waiting: Sequence[Undelivered], patience_s: float = PATIENCE_S) -> list[Undelivered]:
    """Send all at once; returns those that arrived, as far as their receivers say. Never raises.

    One that hangs may still arrive later, and then once more.
    """
    deadline = time.monotonic() + patience_s
    urls = [url.get_secret_value() for url in alerts.urls]
    answers = [(one, ask(lambda one=one: send(urls[one.target], one.notice))) for one in waiting]  # type: ignore[misc]
    arrived = []
    for one, answer in answers:
        try:
            if answer.result(max(0.0, deadline - time.monotonic())):
                arrived.append(one)
        except Exception:  # a plugin's own failure, or too late: it is tried again at the next look
            continue
    return arrived


def send(url: str, notice: Notice) -> bool:
    """Whether the receiver took it. Blocks for as long as Apprise's own time limits allow."""
    receiver = apprise.Apprise()
    if not receiver.add(addressed(url, notice)):
        return False
    return bool(receiver.notify(body=notice.body, title=notice.title, notify_type=_TYPES[notice.kind]))


def addressed(url: str, notice: Notice) -> str:
    """The URL with what lets its receiver merge an alert's notices, where it has a way to say so."""
    scheme = urlsplit(url).scheme.lower()
    if scheme == "pagerduty":
        fields = {"dedup": notice.key, "action": "map"}  # resolves on success, triggers otherwise
    elif scheme in _TAKES_FIELDS:
        action = "resolve" if notice.kind is Kind.RESOLVED else "trigger"
        fields = {":dedup_key": notice.key, ":action": action, ":rule": notice.rule}
    else:
        return url
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())
    return f"{url}{'&' if urlsplit(url).query else '?'}{query}"


def shown(url: str) -> str:
    """Only what kind of receiver it is; the rest may hold a secret."""
    return f"{urlsplit(url).scheme}://…"
