"""The shared counter of failures within a probation time."""

from holdfast.core.escalation import Counter, count, different_exceeded, ends_at, exceeded, lapsed
from holdfast.model.layout import Escalation

RULE = Escalation(maximum=2, probation_s=10.0)


def test_as_many_failures_as_the_maximum_are_still_allowed() -> None:
    counter = count(count(Counter(), RULE, 1.0, "dns-1"), RULE, 2.0, "dns-1")
    assert not exceeded(counter, RULE, 2.0)


def test_one_failure_more_than_the_maximum_within_the_probation_is_too_many() -> None:
    counter = Counter()
    for at in (1.0, 2.0, 10.9):
        counter = count(counter, RULE, at, "dns-1")
    assert exceeded(counter, RULE, 10.9)


def test_the_probation_is_counted_from_the_first_failure() -> None:
    counter = count(count(Counter(), RULE, 1.0, "dns-1"), RULE, 9.0, "dns-1")
    assert ends_at(counter, RULE) == 11.0
    assert lapsed(counter, RULE, 11.0) == Counter()


def test_a_failure_after_the_probation_begins_a_new_one() -> None:
    counter = count(count(Counter(), RULE, 1.0, "dns-1"), RULE, 12.0, "dns-1")
    assert counter.failures == 1
    assert counter.began == 12.0


def test_different_things_are_counted_once_each() -> None:
    counter = Counter()
    for vm in ("vm1", "vm1", "vm2", "vm1"):
        counter = count(counter, RULE, 1.0, vm)
    assert counter.about == ("vm1", "vm2")
    assert not different_exceeded(counter, RULE, 1.0)
    assert different_exceeded(count(counter, RULE, 2.0, "vm3"), RULE, 2.0)


def test_the_observations_behind_the_failures_are_kept_within_a_bound() -> None:
    counter = Counter()
    for n in range(100):
        counter = count(counter, RULE, 1.0, "dns-1", (n,))
    assert counter.seen[-1] == 99
    assert len(counter.seen) == 16
