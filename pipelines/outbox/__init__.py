"""Domain events, handed on to whoever can't read the lake: an SQS queue, a webhook. ``rireki outbox deliver``.

Fed by the changelog of the service's events table, so the source is asked nothing and the event table itself is the
outbox: what committed is in the change stream, what rolled back never was.

    message      one event as it is sent
    feed         the changelog behind a position → messages, in the order of their commits
    ledger       what waits, what is parked, how far the feed was read; survives in the lake
    destination  what can be sent to, and the two ways in which it fails
    sqs, webhook the two kinds
    deliver      the loop: read, send, remember

At least once: the ledger is written after sending, so a crash between the two sends again, under the same event id. In
order per aggregate: of each, one message at a time is under way, and nothing overtakes one that waits or is parked.
"""
