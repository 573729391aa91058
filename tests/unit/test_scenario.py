"""Scenario files: every one that is shipped can be read, and mistakes in one are told with their place."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.errors import MachineLacks, UserError
from holdfast.lab import scenario
from holdfast.lab.campaign import Plan, check_machine

GOOD = (scenario.FOLDER / "uc1.yaml").read_text()


def test_every_scenario_that_is_shipped_can_be_read() -> None:
    assert [scenario.load(name).name for name in scenario.names()] == list(scenario.names())


@pytest.mark.parametrize(
    ("words", "is_known"),
    [
        ("active", True),
        ("active on second", True),
        ("active h3", True),
        ("active h3 on first", True),
        ("active on third", False),
        ("active on", False),
        ("active h3 h2", False),
    ],
)
def test_a_cut_is_of_one_host_or_two_on_all_networks_or_one(tmp_path: Path, words: str, is_known: bool) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("kill-vnfc active", f"cut {words}"))
    if is_known:
        assert [step.words for step in scenario.parse(path).steps if step.verb == "cut"] == [tuple(words.split())]
        return
    with pytest.raises(UserError, match="the words do not fit"):
        scenario.parse(path)


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


def test_a_program_that_is_missing_is_told_before_the_first_run(tmp_path: Path) -> None:
    layout = tmp_path / "layout.yaml"
    layout.write_text((scenario.LAYOUTS / "dns.yaml").read_text().replace("start: dnsmasq", "start: dnsmask"))
    lacking = replace(scenario.load("uc5"), layout=layout)
    with pytest.raises(MachineLacks) as lacks:
        check_machine(Plan([scenario.load("uc1"), lacking], 1, tmp_path))
    assert lacks.value.message.startswith("scenario uc5: VNF dns: the program dnsmask")
    assert "make setup" in lacks.value.hint


def test_a_file_of_ones_own_is_run_with_a_layout_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("layout: registry.yaml", "layout: own.yaml"))
    (tmp_path / "own.yaml").write_text((scenario.LAYOUTS / "registry.yaml").read_text())
    mine = scenario.load(str(path))
    assert (mine.name, mine.called, mine.layout) == ("mine", str(path), tmp_path / "own.yaml")
    assert scenario.load("uc1").called == "uc1"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        scenario.load(str(tmp_path / "none.yaml"))
    assert refused.value.message == f"there is no file {tmp_path / 'none.yaml'}"
