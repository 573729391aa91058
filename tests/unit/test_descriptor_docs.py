"""Examples, schema and documentation agree with what is read."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.descriptor import check, check_text, load, schema
from holdfast.descriptor.placeholders import PLACEHOLDERS
from holdfast.descriptor.reference import renewed
from holdfast.drivers import files

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
PAGE = ROOT / "docs" / "descriptor.md"


def is_valid(value: Any, rule: dict[str, Any], defs: dict[str, Any]) -> bool:
    """Whether a value keeps to the part of JSON Schema that our schema uses."""
    if "$ref" in rule:
        return is_valid(value, defs[rule["$ref"].rpartition("/")[2]], defs)
    if ("const" in rule and value != rule["const"]) or ("enum" in rule and value not in rule["enum"]):
        return False
    if "anyOf" in rule:
        return any(is_valid(value, one, defs) for one in rule["anyOf"])
    if "type" in rule and not any(_is_of(value, kind) for kind in _as_list(rule["type"])):
        return False
    if isinstance(value, str):
        return re.search(rule.get("pattern", ""), value) is not None and len(value) >= rule.get("minLength", 0)
    if isinstance(value, list):
        return all(is_valid(one, rule.get("items", {}), defs) for one in value)
    if isinstance(value, dict):
        known, other = rule.get("properties", {}), rule.get("additionalProperties", True)
        has_all = all(key in value for key in rule.get("required", []))
        return has_all and all(
            is_valid(one, known[key], defs) if key in known else other and is_valid(one, _as_rule(other), defs)
            for key, one in value.items()
        )
    return not isinstance(value, int) or rule.get("minimum", value) <= value <= rule.get("maximum", value)


def _is_of(value: Any, kind: str) -> bool:
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": int | float}
    return value is None if kind == "null" else isinstance(value, kinds[kind])


def _as_list(kind: str | list[str]) -> list[str]:
    return kind if isinstance(kind, list) else [kind]


def _as_rule(other: bool | dict[str, Any]) -> dict[str, Any]:
    return other if isinstance(other, dict) else {}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_no_mistakes_and_keeps_to_the_schema(path: Path) -> None:
    mistakes, warnings, layout = check(path)
    assert (mistakes, warnings) == ([], [])
    assert layout is not None
    rules = schema()
    assert is_valid(yaml.safe_load(path.read_text()), rules, rules["$defs"])


def test_the_examples_are_the_three_that_the_documentation_names() -> None:
    assert {path.stem for path in EXAMPLES} >= {"registry", "dns", "web"}
    assert all(f"../examples/{name}.yaml" in PAGE.read_text() for name in ("registry", "dns", "web"))


@pytest.mark.parametrize(
    "wrong",
    ["{name: x, vnfs: {}}", "{holdfast: 2, name: x, vnfs: {}}", "{holdfast: 1, name: x, vnfs: {f: {zzz: 1}}}",
     "{holdfast: 1, name: x, vnfs: {f: {limits: {start: 10}}}}", "{holdfast: 1, name: x, vnfs: {f: {redundancy: 3N}}}"],
)  # fmt: skip
def test_the_schema_refuses_what_is_refused(wrong: str) -> None:
    rules = schema()
    assert not is_valid(yaml.safe_load(wrong), rules, rules["$defs"])
    assert check_text(wrong.encode())[0] != []


def test_each_descriptor_in_the_documentation_is_right() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    whole = [block for block in blocks if block.startswith("holdfast:")]
    assert whole
    assert [check_text(block.encode())[0] for block in whole] == [[] for _ in whole]


def test_the_tables_in_the_documentation_are_fresh() -> None:
    page = PAGE.read_text()
    assert renewed(page) == page, "run: python -m holdfast.descriptor.reference docs/descriptor.md"


def test_agents_replace_the_placeholders_that_are_documented() -> None:
    assert set(PLACEHOLDERS) == set(files.PLACEHOLDERS)


def test_the_examples_can_run_on_one_machine() -> None:
    for path in EXAMPLES:
        layout = load(path)
        assert len(layout.hosts) == 1
        assert all(vnfc.vm for vnfc in layout.vnfcs.values())


def test_the_descriptor_in_the_readme_is_a_whole_one() -> None:
    text = (ROOT / "README.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    mistakes, warnings, layout = check_text(text.encode(), "README.md")
    assert (mistakes, warnings) == ([], [])
    assert layout is not None
    assert "..." not in text
