"""What people see.

flow        how far a login has come, sealed, in their own hands
browser     the session's cookie
render      templates and their policy
authorize   where products send their users
login       address and password
steps       what comes after a password
second      a second factor
set_up      a new second factor
sso         away to a tenant's own identity provider, and back
finish      a session, and back
enrol       the first password
account     second factors and sessions
password    another password
logout
"""
