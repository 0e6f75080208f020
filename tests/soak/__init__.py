"""The oracle harness: seeded random work over random tables, crashes at random places, and the source's own word.

    kinds       column types with random values, and how the source says what the lake must hold
    tables      random tables
    authors     several sessions whose transactions interleave, driven by one thread so that a seed says all
    oracle      every row as the source has it at a known LSN, and the lake's answer for that LSN
    child       the capture process, which failpoints and ``kill -9`` end
    rounds      one seed: a database, a lake, work, crashes, comparison

``make soak`` runs rounds for half an hour (``ARGS='--minutes 5'``); ``ARGS='--seed N'`` runs one again.
"""
