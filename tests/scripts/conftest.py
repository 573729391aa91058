"""`pytest tests/scripts --rewrite` writes what the cores decide now into the stories, to be reviewed as a diff."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the present decisions into the golden stories")
