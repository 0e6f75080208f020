"""Real servers, real files: see conftest.py for the fixtures."""
