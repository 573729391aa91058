"""Where mistakes and warnings about one file are collected while it is read and resolved.

A value that was found wrong once is taken for not written from then on; what would be said about it (or about something
inside it) after that is a consequence and is not said.
"""

import re
from collections.abc import Iterable

from holdfast.descriptor.mistakes import Mistake, Warning_, shown
from holdfast.descriptor.tree import Path, Tree
from holdfast.model.limits import DESCRIPTOR_MISTAKES_MAX

_PLAIN = re.compile(r"[ -~]{1,60}")


def dotted(path: Path) -> str:
    """`vnfs.registry.place[1]`; a key that is no plain word is shown as a value is."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        word = part if _PLAIN.fullmatch(part) else shown(part)
        text += f".{word}" if text else word
    return text


class Enough(Exception):
    """More is wrong than anybody would read; `notes` has what was found so far."""

    def __init__(self, notes: "Notes") -> None:
        super().__init__()
        self.notes = notes


class Notes:
    def __init__(self, file: str, tree: Tree, mistakes: Iterable[Mistake] = ()) -> None:
        self.file = file
        self._tree = tree
        self._mistakes = list(mistakes)
        self._warnings: list[Warning_] = []
        self._dropped: set[Path] = set()

    @property
    def mistakes(self) -> list[Mistake]:
        return sorted(set(self._mistakes))

    @property
    def warnings(self) -> list[Warning_]:
        return sorted(set(self._warnings))

    def drop(self, path: Path) -> None:
        """Say no more about this value: it is being treated as not written."""
        self._dropped.add(path)

    def wrong(self, path: Path, expected: str, hint: str = "", found: object = None, *, said: str = "") -> None:
        """Note a mistake about the value at `path`; what was found is shown as a value, unless `said` has the words."""
        self._add(path, said or shown(found), expected, hint, at_key=False)

    def unknown(self, path: Path, expected: str, hint: str = "") -> None:
        """Note a mistake about the key at the end of `path`."""
        self._add(path, f"the key {shown(path[-1])}", expected, hint, at_key=True)

    def misnamed(self, path: Path, expected: str, hint: str = "") -> None:
        """Note a mistake about the name that the key at the end of `path` gives."""
        self._add(path, shown(path[-1]), expected, hint, at_key=True)

    def missing(self, path: Path, expected: str, hint: str = "") -> None:
        """Note that nothing stands at `path`, where something should."""
        around = path[:-1]
        if not self.is_dropped(path):
            spot = self._tree.spot(path if path in self._tree.values else around, at_key=True)
            found = f"no {path[-1]}" if path else "nothing"
            self._keep(Mistake(self.file, spot.line, spot.column, dotted(around), found, expected, hint))

    def doubt(self, path: Path, text: str, hint: str = "") -> None:
        """Note a warning."""
        if not self.is_dropped(path):
            spot = self._tree.spot(path, at_key=False)
            self._warnings.append(Warning_(self.file, spot.line, spot.column, dotted(path), text, hint))

    def line(self, path: Path) -> int:
        return self._tree.spot(path, at_key=True).line

    def _add(self, path: Path, found: str, expected: str, hint: str, *, at_key: bool) -> None:
        if not self.is_dropped(path):
            spot = self._tree.spot(path, at_key)
            self._keep(Mistake(self.file, spot.line, spot.column, dotted(path), found, expected, hint))

    def _keep(self, mistake: Mistake) -> None:
        self._mistakes.append(mistake)
        if len(self._mistakes) >= DESCRIPTOR_MISTAKES_MAX:
            expected = f"fewer than {DESCRIPTOR_MISTAKES_MAX}"
            what = Mistake(
                self.file, mistake.line, mistake.column, "", "too many mistakes", expected, "mend these first"
            )
            self._mistakes.append(what)
            raise Enough(self)

    def is_dropped(self, path: Path) -> bool:
        """Whether the value at `path`, or something around it, is treated as not written though it is."""
        return any(path[:length] in self._dropped for length in range(len(path) + 1))
