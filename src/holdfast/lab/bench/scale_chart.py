"""The managers' growth as a picture: how time, memory, store writes and status grow with the number of VNFs.

In: sizes. Out: SVG of four panels, both axes logarithmic, each point with its figure. It loads nothing from anywhere.
"""

from collections.abc import Callable, Sequence
from math import ceil, floor, log10
from typing import NamedTuple
from xml.sax.saxutils import escape

from holdfast.lab.bench.scale import Size
from holdfast.lab.bench.table import number

WIDTH, HEIGHT, PAD = 460, 300, 46
COLOURS = ("#1f5fa8", "#b3541e", "#2f7d4f")


class Line(NamedTuple):
    name: str
    value: Callable[[Size], float]


class Panel(NamedTuple):
    title: str
    lines: tuple[Line, ...]


PANELS = (
    Panel(
        "processor time, ms",
        (
            Line(
                "for each service that moves when a host is lost", lambda size: per_move(size.one.recover.cpu_ms, size)
            ),
            Line("for one component that is killed", lambda size: size.killed.cpu_ms / size.kills),
        ),
    ),
    Panel("memory of the managers, MB", (Line("at its highest", lambda size: size.peak_mb),)),
    Panel(
        "written to the store, kB",
        (
            Line(
                "for each service that moves when a host is lost",
                lambda size: per_move(size.one.recover.written_bytes / 1000, size),
            ),
            Line("for one component that is killed", lambda size: size.killed.written_bytes / 1000 / size.kills),
        ),
    ),
    Panel("status, kB", (Line("of all managers", lambda size: size.status_bytes / 1000),)),
)


def per_move(value: float, size: Size) -> float:
    return value / max(1, size.one.moved)


def chart(sizes: Sequence[Size]) -> str:
    """The SVG; sizes of one number of hosts."""
    body = [_panel(panel, sizes, place % 2 * WIDTH, place // 2 * HEIGHT) for place, panel in enumerate(PANELS)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {2 * HEIGHT}" font-family="sans-serif" '
        f'font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _panel(panel: Panel, sizes: Sequence[Size], left: float, top: float) -> str:
    values = [max(line.value(size), 1e-3) for line in panel.lines for size in sizes]
    low, high = floor(log10(min(values))), ceil(log10(max(values) * 1.01))
    first, last = floor(log10(min(size.vnfs for size in sizes))), ceil(log10(max(size.vnfs for size in sizes)))

    def x(vnfs: float) -> float:
        return left + PAD + (log10(vnfs) - first) / max(1, last - first) * (WIDTH - 2 * PAD)

    def y(value: float) -> float:
        return top + HEIGHT - PAD - (log10(max(value, 1e-3)) - low) / max(1, high - low) * (HEIGHT - 2.4 * PAD)

    parts = [f'<text x="{left + PAD}" y="{top + 18}" font-weight="bold">{escape(panel.title)}</text>']
    for power in range(first, last + 1):
        at = x(10**power)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y(10**low):.1f}" y2="{y(10**high):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{at:.1f}" y="{y(10**low) + 15:.1f}" text-anchor="middle">{10**power} VNFs</text>')
    for power in range(low, high + 1):
        at = y(10**power)
        parts.append(
            f'<line x1="{x(10**first):.1f}" x2="{x(10**last):.1f}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>'
        )
        parts.append(f'<text x="{left + PAD - 5}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for place, line in enumerate(panel.lines):
        parts += _line(line, sizes, COLOURS[place], x, y)
        parts.append(
            f'<text x="{left + PAD}" y="{top + 34 + 13 * place}" fill="{COLOURS[place]}">{escape(line.name)}</text>'
        )
    return "\n".join(parts)


def _line(
    line: Line, sizes: Sequence[Size], colour: str, x: Callable[[float], float], y: Callable[[float], float]
) -> list[str]:
    points = [(x(size.vnfs), y(line.value(size)), line.value(size)) for size in sizes]
    path = " ".join(f"{at:.1f},{height:.1f}" for at, height, _ in points)
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>']
    for at, height, value in points:
        parts.append(f'<circle cx="{at:.1f}" cy="{height:.1f}" r="3" fill="{colour}"/>')
        parts.append(
            f'<text x="{at:.1f}" y="{height - 7:.1f}" text-anchor="middle" fill="{colour}">{number(value)}</text>'
        )
    return parts
