"""``make bench-capture``: what capture costs beside the tools that everyone has, measured in one run.

bench       one server for all, a lake and a slot for each measurement
child       the captured side, in a process of its own
changes     changes a second beside ``pg_recvlogical -f /dev/null``
large       one transaction that no memory should hold
steady      2,000 transactions a second: from commit to durable
commits     whether the ten-thousandth commit costs what the first did
copies      a copy with two workers beside two plain COPYs
__main__    which are there, ``--only``, ``--json``
"""
