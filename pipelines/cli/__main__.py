"""``python -m pipelines.cli``: the same as ``rireki``, for whoever can't rely on the PATH."""

from pipelines.cli import main

main()
