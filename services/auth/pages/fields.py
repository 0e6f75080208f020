"""What a form's field may hold."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form

Field = Annotated[str, Form(max_length=16_384)]  # a flow carries the product's whole request
