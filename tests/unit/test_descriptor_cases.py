"""Golden cases: a descriptor, `----`, and everything that is said about it. One behaviour a file.

`python tests/unit/test_descriptor_cases.py` writes the expected parts anew; the review reads the difference.
"""

from pathlib import Path

import pytest

from holdfast.descriptor import check_text, survey

CASES = Path(__file__).parent.parent / "descriptors"
LINE = "----\n"


def said_about(text: str) -> str:
    """Everything that is said about a descriptor, one line each."""
    mistakes, warnings, layout = check_text(text.encode(), "FILE")
    lines = [f"mistake {mistake}" for mistake in mistakes] + [f"warning {warning}" for warning in warnings]
    if layout is not None:
        lines += ["layout"] + [f"finding {finding.kind}: {finding.sentence}" for finding in survey(layout)]
    return "".join(f"{line}\n" for line in lines)


def parts(case: Path) -> tuple[str, str]:
    text, _, expected = case.read_text().partition(LINE)
    return text, expected


@pytest.mark.parametrize("case", sorted(CASES.glob("*.case")), ids=lambda case: case.stem)
def test_everything_is_said_about(case: Path) -> None:
    text, expected = parts(case)
    assert said_about(text) == expected


def test_each_case_says_what_it_is_about() -> None:
    cases = list(CASES.glob("*.case"))
    assert len(cases) > 30
    assert all(case.read_text().startswith("# ") for case in cases)


if __name__ == "__main__":
    for rewritten in sorted(CASES.glob("*.case")):
        source, _ = parts(rewritten)
        rewritten.write_text(source + LINE + said_about(source))
