"""Directory: tenants, organisations, pharmacies, users, their memberships and roles.

A command's way:

    app, __main__  the application of these routers (services.web has the edge, the call, the reads)
    api/           one router per aggregate: HTTP in, HTTP out
    commands/      what a command does inside its transaction: state, then event
    events         the event types and the shape of the state after
    fields         what a field may hold
    migrations/, roles.sql, publication.sql   the tables, the service's role, what leaves for the lake
"""
