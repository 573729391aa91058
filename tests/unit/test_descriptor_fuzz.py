"""Whatever the file, what comes back are mistakes or a layout: never a traceback."""

import random
from pathlib import Path

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.descriptor import check_text, survey
from holdfast.model import descriptor as written

EXAMPLES = Path(__file__).parents[2] / "examples"
CASES = Path(__file__).parents[1] / "descriptors"
SOURCES = [path.read_text() for path in sorted(EXAMPLES.glob("*.yaml"))] + [
    path.read_text().partition("----\n")[0] for path in sorted(CASES.glob("*.case"))
]
KEYS = sorted(
    {
        field.alias or name
        for model in vars(written).values()
        if isinstance(model, type) and issubclass(model, written.Written)
        for name, field in model.model_fields.items()
    }
)
WORDS = [
    "2N",
    "N+M",
    "internal",
    "yes",
    "5s",
    "0",
    "-1",
    "99999",
    "vm1",
    "10.77.0.5",
    "fd77::5",
    "none",
    "",
    "${vm}",
    "ü",
]

often = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def is_judged(raw: bytes) -> bool:
    """The one thing that must hold for every file: no layout without a clean bill, and words for everything."""
    mistakes, warnings, layout = check_text(raw)
    has_places = all(mistake.line >= 1 and mistake.column >= 1 and str(mistake) for mistake in mistakes)
    has_words = all(str(warning) for warning in warnings)
    has_sentences = layout is None or all(finding.sentence for finding in survey(layout))
    return (layout is None) == bool(mistakes) and has_places and has_words and has_sentences


@often
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode(errors="replace"))))
def test_any_text_is_judged(raw: bytes) -> None:
    assert is_judged(raw)


@often
@given(st.sampled_from(SOURCES), st.integers(0, 2**32))
def test_any_damaged_descriptor_is_judged(source: str, seed: int) -> None:
    chance = random.Random(seed)
    lines = source.splitlines()
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(lines))
        match chance.randrange(6):
            case 0:
                del lines[at]
                lines = lines or [""]
            case 1:
                lines.insert(at, lines[chance.randrange(len(lines))])
            case 2:
                lines[at] = " " * chance.randrange(8) + lines[at].lstrip()
            case 3:
                words = lines[at].split(" ")
                words[chance.randrange(len(words))] = chance.choice(WORDS + [f"{key}:" for key in KEYS])
                lines[at] = " ".join(words)
            case 4:
                cut = chance.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:cut] + chance.choice("[]{}:,&*!|>%@`'\"\t#-?") + lines[at][cut:]
            case _:
                lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
    assert is_judged("\n".join(lines).encode())


values = st.recursive(
    st.one_of(st.sampled_from(WORDS), st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)),
    max_leaves=20,
)


@often
@given(st.dictionaries(st.sampled_from(["f", "vm1", "g"]), st.dictionaries(st.sampled_from(KEYS), values, max_size=6)))
@example({"f": {"place": ["vm1", "vm1"], "checks": [None, {"tcp": None}, []], "components": {"a": None}}})
@example({"f": {"interface": {"addresses": [None, "10.77.0.5", "::"]}, "after": ["f", None]}})
def test_any_values_under_any_keys_are_judged(vnfs: dict[str, object]) -> None:
    data = {"holdfast": 1, "name": "x", "vms": {"vm1": None, **vnfs}, "hosts": vnfs, "vnfs": vnfs, "network": vnfs}
    assert is_judged(yaml.safe_dump(data, allow_unicode=True).encode(errors="replace"))
    assert is_judged(
        yaml.safe_dump(data | {"vms": {"vm1": None}, "hosts": None, "network": None}).encode(errors="replace")
    )
