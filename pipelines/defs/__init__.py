"""What Dagster shows and runs, in the order of the graph; ``pipelines.definitions`` puts it together.

assets    source, stream, changelogs, current tables, transactions, cuts
checks    on the graph: lag, slot, gaps, rows by value
jobs      resync_table, reconcile, purge_runs
sensors   heartbeat reports what capture has done; lag_alerts tells people when readers fall behind
"""
