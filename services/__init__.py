"""The core platform: small services on one PostgreSQL, a schema and a role each.

    shared      the transaction, the event and the error type; knows no service
    web         the HTTP side of a service: edge, call, reads; a library, knows no service
    migrate     brings a database to the state that the SQL files describe
    directory   who belongs where and may do what
    asset       which products a customer has, who holds a seat of them, and the devices
    journal     reads the events back: replay, verify, backfill
    workload    drives the services over HTTP, like a working day of a chain of pharmacies

Services never import or call one another: what they share, they share in the database.
"""
