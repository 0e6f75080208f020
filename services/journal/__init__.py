"""Reading the domain events back: ``python -m services.journal verify|replay|backfill|schema|expire``.

    fold        events → state, as valid at one time and as known at another; pure
    services    which services there are, with their aggregates and upcasters
    read        events and state out of the database, in one order
    verify      fold(events) = state tables, row by row
    backfill    events for rows that have none, in dependency order
    schema      the JSON schema of a table's row
    expire      the answers of old commands forgotten
    __main__    the command line

A tool beside the services, like migrate: it reads what every tenant's events say, so it logs in as an administrator.
"""
