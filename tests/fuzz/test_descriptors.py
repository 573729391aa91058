"""Ten thousand malformed descriptors: each is refused with file, line, value and what was expected, in words."""

import resource
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from holdfast.descriptor import Mistake, check_text, load, survey
from holdfast.errors import UserError
from holdfast.model.limits import DESCRIPTOR_ENTITIES_MAX, DESCRIPTOR_MISTAKES_MAX
from tests.fuzz.descriptors import malformed

BLOCKS, REFUSED_A_BLOCK = 10, 1000
MESSAGE_CHARACTERS_MAX = 2000
MEMORY_BYTES = 768 << 20
PROCESSOR_S = 30


def what_is_wrong_with(mistake: Mistake, raw: bytes) -> str:
    """Why a person could not use this message; empty when it is as it should be."""
    text = str(mistake)
    lines = len(raw.splitlines()) + raw.count(b"\r") + raw.count(b"\x85") + raw.count(b"\xe2\x80\xa8") + 1
    if not text.startswith(f"FILE:{mistake.line}:{mistake.column}: "):
        return "does not begin with file, line and column"
    if not (1 <= mistake.line <= lines and mistake.column >= 1):
        return f"names line {mistake.line} of {lines}"
    if not mistake.found or not mistake.expected:
        return "says not what was found, or not what was expected"
    if len(text) > MESSAGE_CHARACTERS_MAX:
        return f"is {len(text)} characters long"
    odd = [sign for sign in text if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp", "Cf")]
    return f"holds {odd[0]!r}" if odd else ""


@pytest.mark.parametrize("block", range(BLOCKS))
def test_ten_thousand_malformed_descriptors_are_refused_in_words(block: int) -> None:
    refused, number = 0, block * 1_000_000
    unclear: list[str] = []
    while refused < REFUSED_A_BLOCK:
        raw = malformed(number)
        mistakes, warnings, layout = check_text(raw, "FILE")
        assert (layout is None) == bool(mistakes), f"malformed({number})"
        assert len(mistakes) <= DESCRIPTOR_MISTAKES_MAX + 1, f"malformed({number})"
        assert all(map(str, warnings)), f"malformed({number})"
        if layout is not None:
            assert all(finding.sentence for finding in survey(layout)), f"malformed({number})"
        unclear += [
            f"malformed({number}): {str(mistake)[:300]!r} {why}"
            for mistake in mistakes
            if (why := what_is_wrong_with(mistake, raw))
        ]
        refused += layout is None
        number += 1
    assert not unclear, "\n".join(unclear[:20])
    assert number % 1_000_000 < 1.5 * REFUSED_A_BLOCK, "too many of them are right"


@pytest.mark.parametrize("number", range(0, 600, 3))
def test_what_loads_a_descriptor_refuses_it_in_one_message(number: int, tmp_path: Path) -> None:
    path = tmp_path / "malformed.yaml"
    path.write_bytes(malformed(number))
    mistakes, _, layout = check_text(path.read_bytes(), str(path))
    if layout is not None:
        assert load(path) == layout
        return
    with pytest.raises(UserError) as caught:
        load(path)
    assert caught.value.exit_status == 2
    assert caught.value.hint
    assert all(str(mistake) in caught.value.message for mistake in mistakes)


def vnfs(count: int, one: str) -> str:
    return "holdfast: 1\nname: x\nvms: {v: }\nvnfs:\n" + "".join(f"  f{n}: {{{one}}}\n" for n in range(count))


def circle(count: int) -> str:
    bodies = (f"  f{n}: {{place: v, start: f, after: [f{(n + 1) % count}]}}\n" for n in range(count))
    return "holdfast: 1\nname: x\nvms: {v: }\nvnfs:\n" + "".join(bodies)


def places(count: int, name: str) -> str:
    vms = "".join(f"  v{n}: \n" for n in range(count))
    names = ", ".join(name.format(n) for n in range(count))
    return f"holdfast: 1\nname: x\nvms:\n{vms}vnfs: {{f: {{start: f, place: [{names}]}}}}\n"


LARGE = {
    "a bomb": "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
    "unknown keys": "holdfast: 1\nname: x\n" + "".join(f"vnfs{n}: 1\n" for n in range(150_000)),
    "doubled keys": "holdfast: 1\n" + "name: x\n" * 400_000,
    "misspelled VNFs": vnfs(20_000, "plase: v, strat: f"),
    "too many VNFs": vnfs(20_000, "place: v, start: f"),
    "a long circle": circle(DESCRIPTOR_ENTITIES_MAX),
    "too long a circle": circle(20_000),
    "nowhere to be": places(DESCRIPTOR_ENTITIES_MAX, "w{0}"),
    "one place again and again": places(DESCRIPTOR_ENTITIES_MAX, "v0"),
    "too many places": places(90_000, "v0"),
    "a long word": "holdfast: 1\nname: " + "x" * 4_000_000,
    "a long number": "holdfast: " + "9" * 4_000_000,
    "brackets": "[" * 4_000_000,
    "NULs": "\0" * 4_000_000,
    "too long": "x" * 5_000_000,
}


def bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_S, PROCESSOR_S))


@pytest.mark.parametrize("what", LARGE)
def test_the_command_refuses_with_little_memory_and_time(what: str, tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(LARGE[what])
    command = [sys.executable, "-m", "holdfast", "validate", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, preexec_fn=bounded, check=False)
    assert ended.returncode == 2, ended.stderr[-500:]
    assert "Traceback" not in ended.stdout + ended.stderr
    assert ended.stderr.startswith(f"holdfast: {path}: ")
    assert "hint: " in ended.stderr
    said = ended.stdout.splitlines()
    assert 1 <= len(said) <= DESCRIPTOR_MISTAKES_MAX + 1
    assert all(line.startswith(f"{path}:") and ", expected " in line for line in said)
    assert max(map(len, said)) < MESSAGE_CHARACTERS_MAX
