"""Scenario files: every one that is shipped can be read, and mistakes in one are told with their place."""

from pathlib import Path

import pytest

from holdfast.errors import UserError
from holdfast.lab import scenario

GOOD = (scenario.FOLDER / "uc1.yaml").read_text()


def test_every_scenario_that_is_shipped_can_be_read() -> None:
    assert [scenario.load(name).name for name in scenario.names()] == list(scenario.names())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ":1: expected a mapping"),
        ("title: [\n", ":2: not well-formed YAML"),
        (GOOD.replace("title:", "tytle:"), "unknown keys ['tytle']"),
        (GOOD.replace("kill-vnfc", "kil-vnfc"), "unknown step `kil-vnfc`"),
        (GOOD.replace("layout: registry.yaml", "layout: none.yaml"), "layout 'none.yaml' is not in"),
        (GOOD.replace("service: registry", "service:"), "found no service"),
        ("".join(line for line in GOOD.splitlines(True) if not line.startswith("  -")), "found no steps"),
        (GOOD.replace("client: {kind: registry}", "client: registry"), "no mapping for the client"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        scenario.parse(path)
    assert str(path) in refused.value.message
    assert says in refused.value.message
