"""Which device a person recognises a session by, from what its browser says of itself."""

from __future__ import annotations

# The first that matches: Edge says it is Chrome too, and Chrome that it is Safari.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "an iPhone"),
    ("iPad", "an iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "a Mac"),
    ("CrOS", "a Chromebook"),
    ("Linux", "Linux"),
)


def named(agent: str | None) -> str:
    """``Chrome on Windows``; what isn't recognised is said as it is, shortened."""
    told = agent or ""
    browser = next((name for mark, name in _BROWSERS if mark in told), None)
    system = next((name for mark, name in _SYSTEMS if mark in told), None)
    if browser is None:
        return told[:60] or "An unknown browser"
    return f"{browser} on {system}" if system else browser
