"""The end-to-end tests' source and lakes, and the capture process as one that can be killed."""

from tests.end_to_end.conftest import pipeline  # noqa: F401 - a fixture
