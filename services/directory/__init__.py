"""Directory: tenants, organisations, pharmacies, users, their memberships and roles.

A command's way:

    app            FastAPI, problems, limits
    api/           one router per aggregate: HTTP in, HTTP out
    call           who calls (token, headers), idempotency, the answer
    commands/      what a command does inside its transaction: state, then event
    events         the event types and the shape of the state after
    fields         what a field may hold
    settings       the environment, checked
    migrations/, roles.sql, publication.sql   the tables, the service's role, what leaves for the lake
"""
