"""Mistakes that a process can make around its Grantor; those of the Grantor itself are in `tests/grants/plants.py`."""

from holdfast.lab.explore.kernels import Said
from holdfast.lab.explore.member import Confirm, Do, Effect, Key, Member
from holdfast.model.granting import Close, Output


class OneTimer(Member):
    """Both keys are set with one length, and nobody looks how long that took."""

    def setting(self, key: Key) -> list[Effect]:
        return [Said("key A", key.length_ns), Said("key B", key.length_ns)]

    def looking(self, key: Key) -> list[Do]:
        return [Confirm("armed", key.arm)]


class OneTimerChecked(OneTimer):
    """The same; afterwards it is looked at once how long that took."""

    def looking(self, key: Key) -> list[Do]:
        return [key._replace(step="look", name="key B")]


class ReleasesFirst(Member):
    """The release goes out, and then the kernel is closed."""

    def carry_out(self, output: Output) -> list[Effect]:
        if isinstance(output, Close):
            self.todo = [*self.todo, Confirm("closed", output), Confirm("disown at last", output)]
            return []
        return super().carry_out(output)

    def _confirm(self, confirm: Confirm, now: int, highest: int) -> list[Effect]:
        if confirm.what == "disown at last":
            rest = [doing for doing in self.todo if not isinstance(doing, Confirm)]
            if rest:
                self.todo.append(confirm)
                return []
            return [Said("disown")]
        return super()._confirm(confirm, now, highest)


class Unsealed(Member):
    """The next voter set is made whether or not the present one is sealed."""

    def is_sealed(self, now: int) -> bool:
        return True


class RoundsUp(Member):
    """Lengths are rounded up, and taken as they stand."""

    def length_ns(self, left_ns: int) -> int:
        tick_ns = self.profile.tick_ns * 100
        return -(-left_ns // tick_ns) * tick_ns
