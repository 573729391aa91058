"""`after`: which groups must provide their service before which, and that this has an end."""

from holdfast.descriptor.groups import TypeOf
from holdfast.descriptor.mistakes import nearest
from holdfast.descriptor.notes import Notes
from holdfast.model.layout import Group
from holdfast.model.names import GroupName

_SHOWN_MAX = 10
"""Longer circles are shown with a gap."""


def after_of(one: TypeOf, types: list[TypeOf], notes: Notes) -> tuple[GroupName, ...]:
    """The groups named by `after`: component types of the same VNF, groups by their full names, or all of a VNF."""
    if not one.text.after:
        return ()
    found: list[GroupName] = []
    siblings = {other.name: other.group for other in types if other.vnf == one.vnf and str(other.group) != str(one.vnf)}
    groups = {str(other.group): other.group for other in types}
    for number, name in enumerate(one.text.after):
        if name in siblings:
            found.append(siblings[name])
        elif name in groups:
            found.append(groups[name])
        elif whole := [other.group for other in types if other.vnf == name]:
            found.extend(whole)
        else:
            known = sorted({*siblings, *groups, *(other.vnf for other in types)})
            path = (*one.path, "after", number)
            notes.wrong(path, "a component type of this VNF, or another VNF", nearest(name, known), name)
    return tuple(dict.fromkeys(found))


def check_cycles(types: list[TypeOf], groups: dict[GroupName, Group], notes: Notes) -> None:
    """Note each circle of groups that wait for one another, once."""
    done: set[GroupName] = set()
    for one in types:
        walk: list[GroupName] = []
        _follow(one.group, walk, done, types, groups, notes)


def _follow(
    start: GroupName,
    walk: list[GroupName],
    done: set[GroupName],
    types: list[TypeOf],
    groups: dict[GroupName, Group],
    notes: Notes,
) -> None:
    """Depth first with a stack of its own: chains may be as long as there are groups."""
    stack: list[tuple[GroupName, list[GroupName]]] = [(start, list(groups[start].after))]
    if start in done:
        return
    walk.append(start)
    while stack:
        name, waiting = stack[-1]
        if not waiting:
            done.add(name)
            stack.pop()
            walk.pop()
            continue
        following = waiting.pop(0)
        if following in walk:
            circle = [*walk[walk.index(following) :], following]
            path = next(one.path for one in types if one.group == name)
            shown = circle if len(circle) <= _SHOWN_MAX else [*circle[: _SHOWN_MAX - 1], "...", circle[-1]]
            said = "a circle: " + " waits for ".join(shown)
            notes.wrong((*path, "after"), "an order with a beginning", said=said)
        elif following not in done:
            stack.append((following, list(groups[following].after)))
            walk.append(following)
