"""The bench of many VNFs as it runs: a real manager process, real links, simulated hosts."""

from pathlib import Path

from holdfast.lab.bench.scale import measure


def test_hosts_are_lost_and_everything_is_recovered_in_order_and_repaired(tmp_path: Path) -> None:
    told: list[str] = []
    size = measure(12, 6, tmp_path / "scale", told.append)
    assert size.wrong == []
    assert (size.one.hosts, size.storm.hosts) == (1, 2)
    assert size.one.moved + size.one.standbys_lost <= 4
    assert size.start.saves > 100
    assert size.killed.instructions > 10 * 6
    assert size.status_bytes > 12 * 100
    assert told == ["started", "components killed", "one host lost"]
    assert not (tmp_path / "scale").exists()
