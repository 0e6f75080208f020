"""HTTP in, HTTP out: one router per aggregate, one function per command, and ``history`` for what happened."""
