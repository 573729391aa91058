"""`pytest tests/scripts --rewrite` (or `tests/grants`, `tests/suspicion`) writes what is decided now into the golden
stories, to be reviewed as a diff."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write what is decided now into the golden stories")
