"""What each command does inside its transaction: decide on the state, change it, record the event.

One file per aggregate. Locks are taken in one order, so that no two commands wait for each other: device, assignment,
license (several of them by id), contract.
"""
