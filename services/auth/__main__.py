"""``python -m services.auth [--host HOST] [--port PORT]``."""

from __future__ import annotations

import sys

from services.auth.app import create_app
from services.web.app import serve

if __name__ == "__main__":
    sys.exit(serve(create_app, "auth"))
