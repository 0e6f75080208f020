"""What every service has in common, and nothing more: a change here is a change to all of them.

errors        what a caller is told: what, which fix, which HTTP status
context       who acts, for which tenant, why
proof         what makes the bound tenant believable
transaction   the one door to the database, with the tenant bound to the transaction
event         state and its domain event, in one transaction
state         finding and locking what a command decides on
roles.sql, guard.sql, migrations/   the owner role, tenant context, stages, event rules
"""
