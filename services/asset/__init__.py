"""Asset: contracts, the licenses under them, who holds a seat, and the devices in the pharmacies.

The one service that is asked immediately: ``GET /v1/licenses/check`` opens a product's door. All else of it reaches
the products through the lake.

    app, __main__  the application of these routers (services.web has the edge, the call, the reads)
    api/           one router per aggregate, and ``check``
    commands/      what a command does inside its transaction: state, then event
    events         the event types and the shape of the state after
    migrations/, roles.sql, publication.sql   the tables, the service's role, what leaves for the lake

It reads the directory's tables (tenants, pharmacies, users) and never its process.
"""
