"""What each command does inside its transaction. Locks are taken in one order, so that two commands can't wait for
each other: tenant, user, organisation, pharmacy, membership, role grant.
"""
