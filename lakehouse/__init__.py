"""Arrow in, Delta out, and every way to read it back. The modules in the order in which a change passes through them.

Written (one process per stream):

    errors           what can go wrong, and what to type then
    root             where a lake lives, and whether one can live there
    names            a table's name as a path segment that every reader can open
    store            objects under a root: put, put if absent, durable when the call returns
    writer           batches and copies in, cuts out; the order of the commits that makes it safe
    columns          which columns a table has, and which changes of them it can follow
    changelog        every change of one table, append-only: the truth
    parquet          Arrow rows to data files and back, with the statistics by which readers skip files
    table_state      what a table's log adds up to
    log              the one committer: put commit N unless somebody has put it
    checkpoints      written by delta-rs beside the stream, so that opening stays fast
    transactions     one row per source commit, who and why; committed last of all
    tail             changes that no cut holds yet, in bounded memory
    fold             many changes become rows to hide and rows to add
    key_hash         a key as 128 bits
    key_index        where each key's row lies: key -> file, row
    unchanged        values that TOAST left out: those of the row before
    deletion_vector  which rows of a data file are no longer in the table
    current          one table's rows at the newest cut
    cuts             which versions belong together, and what the lake can't vouch for

Read (any process, many at once):

"""
