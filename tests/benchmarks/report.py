"""What a run found: as JSON for machines, a Markdown table and an SVG chart for people."""

from __future__ import annotations

import shutil
from html import escape
from pathlib import Path
from statistics import median
from typing import Any, Self

import msgspec
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.table import Table

REFERENCE = Path(__file__).with_name("reference.json")
NOISE = 0.1
"""Ratios closer than this, relatively, are called the same."""

console = Console()


class Figures(msgspec.Struct, frozen=True):
    """One measurement; CPU is microseconds a request by process."""

    rate: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_us: dict[str, float]
    statements: float
    scripts: float


class Line(msgspec.Struct, frozen=True):
    """Medians of one scenario; `ratio` is to hello's rate in the same round."""

    name: str
    results_per_request: int
    ratio: float
    full: Figures
    half: Figures | None


class Report(msgspec.Struct, frozen=True):
    """A whole run."""

    client: str
    users: int
    lines: list[Line]
    memory_mb: dict[str, float]

    @classmethod
    def of(
        cls, client: str, users: int, asks: dict[str, Any], figures: dict[str, Any], memory: dict[str, float]
    ) -> Self:
        """Take the medians of all rounds."""
        full: dict[str, list[Figures]] = figures["full"]
        hello = [each.rate for each in full["hello"]]
        lines = [
            Line(
                name,
                asks[name].results if asks[name].operation == "submit" else 1,
                median(each.rate / base for each, base in zip(found, hello, strict=True)),
                middle(found),
                figures["half"].get(name),
            )
            for name, found in full.items()
        ]
        return cls(client, users, lines, memory)


def middle(found: list[Figures]) -> Figures:
    """Return the median of each figure."""
    return Figures(
        rate=median(each.rate for each in found),
        p50_ms=median(each.p50_ms for each in found),
        p99_ms=median(each.p99_ms for each in found),
        errors=sum(each.errors for each in found),
        cpu_us={name: median(each.cpu_us[name] for each in found) for name in found[0].cpu_us},
        statements=median(each.statements for each in found),
        scripts=median(each.scripts for each in found),
    )


def write(report: Report, folder: Path, *, chart: bool) -> None:
    """Write report.json, report.md and report.svg, and show the table."""
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    text = markdown(report)
    (folder / "report.md").write_text(text)
    if chart:
        draw(folder / "report.svg", svg(report))
    console.print(text, soft_wrap=True, markup=False, highlight=False)
    console.print(f"written: {folder}/report.json, report.md" + (", report.svg" if chart else ""))


def draw(path: Path, text: str) -> None:
    """Write a chart, and beside it a picture of it where there is a browser to take one."""
    path.write_text(text)
    browser = shutil.which("chromium")
    if browser is None:
        console.print("no PNG: Chromium is not installed")
        return
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser)
        page = chromium.new_page(device_scale_factor=2)
        page.set_content(f"<body style='margin:0;display:inline-block'>{text}</body>")
        page.locator("svg").screenshot(path=path.with_suffix(".png"))
        chromium.close()


def markdown(report: Report) -> str:
    """Return the table: rates, times, and microseconds of CPU a request."""
    head = (
        "operation|requests/s|x hello|CPU x hello|results/s|p50 ms|p99 ms|p99 at half|gateway|score_service"
    )
    head += "|rank_service|Postgres|Redis|statements|scripts|errors"
    constant = sum(report.lines[0].full.cpu_us.values())
    rows = [head, "|".join("---" for _ in head.split("|"))]
    for line in report.lines:
        full, cpu = line.full, line.full.cpu_us
        processes = [
            cpu.get("GATEWAY", cpu.get("SERVICE")),
            *map(cpu.get, ("SCORE", "RANK", "POSTGRES", "REDIS")),
        ]
        cells = [line.name, f"{full.rate:,.0f}", f"{line.ratio:.2f}", f"{sum(cpu.values()) / constant:.1f}"]
        cells += [f"{full.rate * line.results_per_request:,.0f}" if "submit" in line.name else ""]
        cells += [f"{full.p50_ms:.1f}", f"{full.p99_ms:.1f}", f"{line.half.p99_ms:.1f}" if line.half else ""]
        cells += ["" if each is None else f"{each:.0f}" for each in processes]
        cells += [f"{full.statements:.2f}", f"{full.scripts:.2f}", str(full.errors or "")]
        rows.append("|".join(cells))
    held = ", ".join(f"{name.lower()} {size:.0f}" for name, size in report.memory_mb.items())
    return (
        f"{report.users:,} users; client: {report.client}. CPU is microseconds a request; of hello and the"
        " replaced design, `gateway` is their one process.\n\n"
        + "\n".join(f"|{row}|" for row in rows)
        + f"\n\nMemory with one board loaded, MB (Pss): {held}.\n"
    )


def svg(report: Report) -> str:
    """Draw the rates as bars on a logarithmic scale: a factor of ten is 130 pixels."""
    import math

    height = 24 * len(report.lines) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="980" height="{height}"',
        ' font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="10" y="20" font-weight="bold">requests/s (log scale), {report.users:,} users</text>',
    ]
    for at, line in enumerate(report.lines):
        y = 34 + 24 * at
        width = max(130 * math.log10(max(line.full.rate, 1)), 1)
        colour = "#9aa5b1" if line.name == "hello" else "#d9822b" if "replaced" in line.name else "#2b6cb0"
        parts.append(f'<text x="250" y="{y + 14}" text-anchor="end">{escape(line.name)}</text>')
        parts.append(f'<rect x="260" y="{y}" width="{width:.0f}" height="18" fill="{colour}"/>')
        label = f"{line.full.rate:,.0f}/s, {line.ratio:.3g} x hello, p99 {line.full.p99_ms:.1f} ms"
        parts.append(f'<text x="{268 + width:.0f}" y="{y + 14}">{label}</text>')
    return "\n".join([*parts, "</svg>"])


def compare(report: Report, *, keep: bool) -> None:
    """Show the ratios beside those of the stored reference; with `keep`, store these in its place.

    CPU against hello's holds on a busy machine too, where rates do not.
    """
    constant = sum(report.lines[0].full.cpu_us.values())
    ratios = {
        line.name: {"rate": round(line.ratio, 4), "cpu": round(sum(line.full.cpu_us.values()) / constant, 3)}
        for line in report.lines
    }
    if keep:
        REFERENCE.write_bytes(msgspec.json.format(msgspec.json.encode(ratios)) + b"\n")
    before: dict[str, dict[str, float]] = {}
    if REFERENCE.exists():
        before = msgspec.json.decode(REFERENCE.read_bytes())
    table = Table("operation", "x hello", "reference", "change", "CPU x hello", "reference", "change")
    for name, found in ratios.items():
        cells = [
            cell for kind in ("rate", "cpu") for cell in _change(found[kind], before.get(name, {}).get(kind))
        ]
        table.add_row(name, *cells)
    console.print(table)


def _change(now: float, before: float | None) -> tuple[str, str, str]:
    """Return a ratio, the reference and the change between them, which is bold past the noise."""
    if before is None:
        return f"{now:.3f}", "", ""
    change = now / before - 1
    return (
        f"{now:.3f}",
        f"{before:.3f}",
        f"[bold]{change:+.0%}[/]" if abs(change) > NOISE else f"{change:+.0%}",
    )
