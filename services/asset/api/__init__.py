"""HTTP in, HTTP out: one router per aggregate, one function per command; ``check`` is asked immediately."""
