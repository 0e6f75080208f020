"""``make bench-capture``: what capture costs beside the tools that everyone has, measured in one run.

bench       one server for all, a lake and a slot for each measurement
child       the captured side, in a process of its own
changes     changes a second beside ``pg_recvlogical -f /dev/null``
copies      a copy with two workers beside two plain COPYs
__main__    which are there, ``--only``, ``--json``
"""
