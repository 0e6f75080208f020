"""Auth: logs people in, and tells products who they are (OpenID Connect).

A login's way:

    app             FastAPI, the edge, which router is where
    edge            limits, security headers
    protocol/       what products speak: authorize, token, userinfo, introspection, revocation, logout (Authlib)
    pages/          what people see: login, second factor, enrolment, their sessions
    api/            what operators call: enrolment links, unlocking, sessions, upstreams
    login           from an address and a password to a person
    people          what directory's tables say of a person; directory's process may be down
    accounts, sessions, grants, factors, credentials   state, each change with its event
    totp, passkeys, recovery   what proves a second factor
    upstreams, away   a tenant's own identity provider: who is whom there, and asking it
    vault, handle   encryption, and opaque tokens that carry their tenant
    keys, clients   what signs, and who may ask
    events, states/, upcasters   what is told of it
    registry        the command line that registers products and rotates keys
    settings, __main__
    migrations/, roles.sql, publication.sql   the tables, the service's roles, what leaves for the lake
"""
