"""HTTP in, HTTP out: one router per aggregate, one function per command."""
