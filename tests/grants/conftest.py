"""`pytest tests/suspicion --rewrite` writes what is noticed now into the stories, to be reviewed as a diff."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    try:
        parser.addoption("--rewrite", action="store_true", help="write what is decided now into the golden stories")
    except ValueError:
        # The stories of the cores have the same option: one run may play both.
        return
