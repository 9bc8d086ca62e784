"""Golden files can be rewritten: ``pytest tests/golden --update-golden``."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that rewrites golden files."""
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files")
