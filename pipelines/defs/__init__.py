"""Dagster's view, in the order of the graph: assets, their checks, jobs, sensors. The logic lives in the library."""
