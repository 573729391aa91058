"""`pytest tests/scripts --rewrite` (or `tests/grants`, `tests/suspicion`) writes what is decided now into the golden
stories, to be reviewed as a diff."""

import pytest
from hypothesis import HealthCheck, settings

# What a property says does not depend on how quick the machine is.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write what is decided now into the golden stories")
