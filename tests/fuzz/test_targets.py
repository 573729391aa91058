"""Whatever bytes come in by any door: no error but the one that refuses them, and nothing that grows."""

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS

FOUND = Path(__file__).parent / "found"
"""Inputs that once did harm, `<target>-<what>`."""
EXPECTED = {"refused", "none", "nothing", "mac"}


def damaged(seed: bytes, chance: random.Random) -> bytes:
    """The seed with a few bytes changed, doubled, left out, put in."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + chance.randrange(9)]
            case 2:
                data[at:at] = data[: chance.randrange(40)]
            case 3:
                data[at:at] = chance.choice(
                    [b"\xff" * 8, b"\0" * 8, b"\x91" * 3000, b"[" * 3000, b"9" * 5000, b"\n", b"%"]
                )
            case _:
                data[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(20)))
    return bytes(data)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_as_it_should_be_comes_in(target: str) -> None:
    assert {TARGETS[target](seed) for seed in SEEDS[target]} - EXPECTED or target in {"stranger", "called", "datagram"}


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(data=st.binary(max_size=600), number=st.integers(0, 2**32))
def test_no_bytes_do_harm(target: str, data: bytes, number: int) -> None:
    chance = random.Random(number)
    assert TARGETS[target](data)
    assert TARGETS[target](damaged(chance.choice(SEEDS[target]), chance))


@pytest.mark.parametrize("found", sorted(FOUND.iterdir()), ids=lambda path: path.name)
def test_what_once_did_harm_does_so_no_more(found: Path) -> None:
    assert TARGETS[found.name.partition("-")[0]](found.read_bytes())


def test_a_short_run_that_is_led_by_coverage_finds_nothing(tmp_path: Path) -> None:
    targets = ["stranger", "from_component", "grants"]
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "6", "--out", str(tmp_path), *targets]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    if importlib.util.find_spec("atheris") is None:
        assert "left out" in ended.stderr
        return
    assert "nothing found" in ended.stdout
    assert len(list((tmp_path / "corpus" / "from_component").iterdir())) > 5
