"""Bring a database to the state that the SQL files describe: ``python -m services.migrate --dsn OWNER_DSN``.

Two kinds of files. ``roles.sql`` of each folder is run every time, as the administrator who is logged in: roles belong
to the server. ``migrations/NNNN_*.sql`` are each run once, in a transaction of their own, as ``platform_owner``; the
history is in the table ``migrations`` of the schema that the folder belongs to, with a checksum of each file. A file
that was applied and has changed since is refused. One migration at a time (advisory lock); running it again is safe.

Passwords of roles that log in: ``DIRECTORY_PASSWORD`` and the like in the environment, or ``--password-file
directory=FILE``. Needed when the role is new; given later, they replace the old one. They go to the server as SCRAM
verifiers, never in plain.

    files       which SQL files there are, and what their history refuses
    apply       roles, then each file once, then: is anything left unprotected?
    __main__    the command line
"""
