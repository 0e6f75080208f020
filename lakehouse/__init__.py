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
    key_kernels      the hash itself, compiled
    key_index        where each key's row lies: key -> file, row
    unchanged        values that TOAST left out: those of the row before
    deletion_vector  which rows of a data file are no longer in the table
    hide             taking rows out of a table without rewriting their files
    draft            a table's next version while changes are applied to it, piece by piece
    current          one table's rows at the newest cut
    regroup          the same rows of it in fewer files
    compaction       small files of any table merged by its writer
    cuts             which versions belong together, and what the lake can't vouch for

Built from the changelogs (any process, one per table):

    intervals        changes become intervals: what each row was, from which commit to which
    stored_changes   a changelog read back in stretches
    history          every interval, as a table; its writing side
    history_build    bringing it up to the newest cut

Kept (any process, now and then):

    promise          how long what lasts, on record in the lake itself
    thinning         which versions a promise keeps
    pins             versions that stay whatever their age
    retained         which versions maintenance has kept
    sweep            what can go without taking anything from a version that is kept
    maintenance      one run: remove what was let go, decide anew

Read (any process, many at once):

    lake             the door: tables, rows, SQL and one row's life, as of any moment that the lake holds
    moment           what people type for a moment: an LSN, a time, a day, now
    events           cuts and commits as a line of LSNs and times
    timeline         how far the lake holds, and which LSN a time means
    as_of            a moment becomes an LSN, the cut to start from, and the verdict
    opening          a Delta table at one version, or why not
    log_past         what a table's log still tells of its past
    versions         which version stands for which source time and LSN
    starting_point   a version, intervals, or nothing: where a table's rows come from
    table_as_of      that start, and the changelog after it folded over
    overlay          a version and the tail over it as one Delta table, for engines that scan
    intervals_as_of  the same for intervals
    difference       what came, went or changed between two states, by key
    query            which tables a query names; whatever doesn't only read them is refused
    sql              those tables as views that scan lazily
    refusal          what DuckDB says against a query, with what is near and what to do
    duck             a DuckDB that reads this lake and nothing else
    answer           rows, and the point and verdict that they stand for
    json_values      every value as JSON without loss
    bloom            one value asked of a file's Bloom filter
    row_search       single rows of local files, found by value without scanning
    key_changes      the changes that name a key, in the changelog
    trace            a row's changes by key, who made them and why
    life             those changes put together: values before and after, keys followed
"""
