"""What Dagster shows and runs, in the order of the graph; ``pipelines.definitions`` puts it together.

assets    source, stream, changelogs, current tables, histories, transactions, cuts
checks    on the graph: lag, slot, gaps, rows by value, promised versions
jobs      resync_table, reconcile, maintain, build_history, purge_runs
sensors   heartbeat reports what capture has done; lag_alerts tells people when readers fall behind
"""
