"""``python -m infra destroy FOLDER``: delete a state folder with all that belongs to it, wherever that lies."""

from __future__ import annotations

import sys

from infra.errors import StackError
from infra.state import StateFolder


def main(words: list[str]) -> int:
    match words:
        case ["destroy", path]:
            try:
                StateFolder(path).destroy()
            except StackError as error:
                sys.stderr.write(f"{error}\n  fix: {error.fix}\n")
                return error.exit_code
            return 0
        case _:
            sys.stderr.write(f"{__doc__}\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
