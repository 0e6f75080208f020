"""Imported by the fork server: everything that a capture process needs, loaded and compiled once."""

import cdc.warm_up
import lakehouse.key_hash
import pipelines.capture  # noqa: F401 - to have it loaded

cdc.warm_up.warm_up()
lakehouse.key_hash.warm_up()
