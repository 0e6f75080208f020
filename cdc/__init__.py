"""PostgreSQL in, Arrow out. Knows nothing of Delta.

In the order in which a change passes through:

    lsn, relation, batch, errors   the words: positions, tables, what comes out, what can go wrong
    source        connections, and libpq's errors in our words
    publication   which tables, which columns
    catalogue     their types and keys
    slot          what PostgreSQL remembers for us
    copy          a table's rows at one exact position
    stream        the receiving thread: bytes, keepalives, back-pressure
    libpq         what has arrived, in one call
    messages      many messages in one buffer
    protocol      the rare messages, decoded one by one
    scan          the frequent ones, indexed in bulk (Numba)
    streamed      transactions that still run, kept aside until they commit ─► spill, the file they are kept in
    assemble      whole transactions out of slices, and parts of those that are too large
    changes       one relation's rows
    columns       one column's values ─► decode (Numba), by the table in types
    context       who and why
"""
