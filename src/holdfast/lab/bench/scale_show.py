"""What a person sees of `bench scale`: how far each size has come, the table, and what is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from holdfast.lab.bench.scale import measure
from holdfast.lab.bench.scale_chart import chart
from holdfast.lab.bench.scale_results import ScaleResults, is_reached, markdown


@dataclass(frozen=True)
class ScalePlan:
    vnfs: Sequence[int]
    hosts: int
    out: Path


def run_and_show(plan: ScalePlan, json_file: Path | None, markdown_file: Path | None, chart_file: Path | None) -> int:
    """Measure what is missing; returns the exit status: 0 if all that was promised was reached, 1 if not."""
    console = Console(emoji=False, highlight=False)
    results = ScaleResults(json_file)
    for vnfs in plan.vnfs:
        if results.has(vnfs, plan.hosts):
            continue
        console.print(f"{vnfs} VNFs on {plan.hosts} hosts", markup=False)
        size = measure(vnfs, plan.hosts, plan.out / str(vnfs), lambda what: console.print(f"  {what}", style="dim"))
        results.add(size)
    console.print(markdown(results), markup=False, soft_wrap=True)
    if markdown_file is not None:
        markdown_file.write_text(markdown(results))
    drawn = [size for size in results.sizes if size.hosts == plan.hosts]
    if chart_file is not None and drawn:
        chart_file.write_text(chart(drawn))
    missed = [size for size in results.sizes if is_reached(size) is False]
    for size in missed:
        console.print(f"not reached: {size.vnfs} VNFs on {size.hosts} hosts", style="red", markup=False)
    return 1 if missed else 0
