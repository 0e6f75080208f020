"""Bring a database to the state that the SQL files describe: ``python -m services.migrate --dsn OWNER_DSN``.

Three kinds of files. ``roles.sql`` of each folder is run every time, as the administrator who is logged in: roles
belong to the server. ``migrations/NNNN_*.sql`` are each run once, in a transaction of their own, as ``platform_owner``;
the history is in the table ``migrations`` of the folder's schema, with a checksum of each file. A file
that was applied and has changed since is refused. ``guard.sql`` is run every time after all migrations, as the
administrator: event triggers are nobody else's to make. One migration at a time (advisory lock); running it again is
safe.

Passwords of roles that log in: ``DIRECTORY_PASSWORD`` and the like in the environment, or ``--password-file
directory=FILE``. Needed when the role is new; given later, they replace the old one. They go to the server as SCRAM
verifiers, never in plain, and as the key that proves the service's tenant context.

    files       which SQL files there are, and what their history refuses
    apply       roles, then each file once, guards and keys, then: is anything left unprotected?
    __main__    the command line
"""
