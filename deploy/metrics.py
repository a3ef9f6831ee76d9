"""`deploy/METRICS.md`: every metric of every process, written by `make schema` from the code."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client.metrics import MetricWrapperBase

from gateway.access import Access

METRICS = Path(__file__).parent / "METRICS.md"

SERVICES = ("gateway", "score_service", "rank_service")
UNITS = ("seconds", "bytes")

HEADER = """# Metrics

In Prometheus' text format at `/metrics` of each process: score_service and rank_service on their own ports,
the gateway on its internal port (`GATEWAY_INTERNAL_PORT`). Every process has the usual `process_*` and
`python_*` too. The alerts over them are in [monitoring/alerts.yml](monitoring/alerts.yml), what to do about
those in [RUNBOOK.md](RUNBOOK.md). Written by `make schema` from the code; do not edit.
"""


class Metric(NamedTuple):
    """One metric as its code declares it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    home: str
    """The package that declares it: a service, or `shared`."""

    @property
    def unit(self) -> str:
        """What one of it is; a metric without a unit counts what its name says."""
        words = self.name.removesuffix("_total").split("_")
        return next((unit for unit in UNITS if unit in words), "")

    @property
    def series(self) -> set[str]:
        """The names of its samples."""
        if self.kind == "histogram":
            return {f"{self.name}_{part}" for part in ("bucket", "sum", "count")}
        return {self.name}


def catalogue() -> list[Metric]:
    """Return every metric there is, by home and name."""
    found = {metric.name: metric for home in (*SERVICES, "shared") for metric in _declared(home)}
    return sorted(found.values(), key=lambda metric: (metric.home, metric.name))


def _declared(home: str) -> Iterator[Metric]:
    package = importlib.import_module(home)
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg or module.name == "__main__":
            continue
        for value in vars(importlib.import_module(f"{home}.{module.name}")).values():
            if isinstance(value, MetricWrapperBase):
                yield _of(value, home)
    if home == "gateway":
        yield from (_of_family(family) for family in Access("off").collect())


def _of(metric: MetricWrapperBase, home: str) -> Metric:
    (family,) = metric.describe()
    labels = tuple(metric._labelnames)
    return Metric(_full(family.name, family.type), family.type, labels, family.documentation, home)


def _of_family(family: Any) -> Metric:
    labels = tuple(family._labelnames)
    return Metric(_full(family.name, family.type), family.type, labels, family.documentation, "gateway")


def _full(name: str, kind: str) -> str:
    return f"{name}_total" if kind == "counter" else name


def render() -> str:
    """Return the whole file."""
    metrics = catalogue()
    sections = [HEADER]
    for home in (*SERVICES, "shared"):
        title = "every process that does such work" if home == "shared" else home
        sections += [
            f"## {title}",
            "",
            "| metric | kind | unit | labels | meaning |",
            "|---|---|---|---|---|",
        ]
        for metric in (each for each in metrics if each.home == home):
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            line = (f"`{metric.name}`", metric.kind, metric.unit, labels, metric.meaning)
            sections.append(f"| {' | '.join(line)} |")
        sections.append("")
    return "\n".join(sections)


def main() -> None:
    """Write the file."""
    METRICS.write_text(render())
    print(f"wrote {METRICS}")


if __name__ == "__main__":
    main()
