"""The embedded stack: everything a laptop needs to run Rireki, in one folder that may be deleted.

In the order in which a start passes through them::

    errors        what can go wrong, and the next command to type
    state         the folder: locked, healed after a crash, remembers ports and passwords
    ports         loopback ports, chosen freely and kept
    account       the unprivileged account of servers that refuse root, and what it can reach
    processes     those that outlived their starter, recognised for certain
    leash         the small process between us and each child: when we die, it stops the child
    program       one supervised child: own session, log file, readiness, stop
    binaries      PostgreSQL's programs, out of the installed wheel
    postgres      the server, with logical decoding on
    object_store  an S3 endpoint that forgets everything when it stops

It starts programs and knows none of them by name; what a program needs to know comes to it by argument or environment.
"""
