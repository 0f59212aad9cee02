"""What the server counts, and how Prometheus reads it.

Counting happens on the way of every request, so it is a lookup and an addition; prometheus-client only writes the text, when
somebody asks. Nothing has a namespace, key or session as a label: such names are personal, and there is no end to them.

Several processes that serve one port count each for itself. With a folder in common (``BOTWIRE_METRICS_DIR``) each puts its
counts there every second, and whichever is asked answers with the sum of all, also of those that have ended.
"""

from __future__ import annotations

import platform
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from botwire._version import __version__
from botwire.server._sharing import Sharing
from botwire.server._sizes import Sizes

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_000.0)

WATCH = "/watch/"
"""How routes begin whose requests last as long as somebody watches."""


class Histogram:
    """How often, and how much: counts below each bound, and the sum. For one thread at a time."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class SharedHistogram(Histogram):
    """A histogram that many threads add to."""

    __slots__ = ("_lock",)

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        super().__init__(bounds)
        self._lock = threading.Lock()

    def add(self, value: float) -> None:
        """Count one."""
        index = bisect_left(self.bounds, value)
        with self._lock:
            self.counts[index] += 1
            self.sum += value


class _Family(NamedTuple):
    kind: str
    about: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = SECONDS


FAMILIES: dict[str, _Family] = {
    "botwire_requests": _Family("counter", "Requests answered, by route template.", ("method", "route", "status")),
    "botwire_request_seconds": _Family("histogram", "From a request's arrival until its answer was sent.", ("method", "route", "status")),
    "botwire_requests_in_progress": _Family("gauge", "Requests being answered now, apart from those on single entries.", ("route",)),
    "botwire_watchers": _Family("gauge", "Requests that wait for changes now."),
    "botwire_store_seconds": _Family("histogram", "Time that calls of the store took.", ("call",)),
    "botwire_commit_batches": _Family("histogram", "Writes that were committed together.", (), BATCHES),
    "botwire_queue_seconds": _Family("histogram", "How long writes waited for the commit before theirs."),
    "botwire_queue_batches": _Family("gauge", "Writes that wait now."),
    "botwire_sweeps": _Family("counter", "Times that expired rows were removed or space was given back."),
    "botwire_swept_rows": _Family("counter", "Expired rows that were removed."),
    "botwire_retention_runs": _Family("counter", "Times that the retention rules were applied.", ("outcome",)),
    "botwire_retention_removed": _Family("counter", "What retention rules removed.", ("kind",)),
    "botwire_store_bytes": _Family("gauge", "Size of the store's files."),
    "botwire_namespaces": _Family("gauge", "Namespaces that hold anything, when last counted."),
    "botwire_entries": _Family("gauge", "Entries, when last counted."),
    "botwire_sessions": _Family("gauge", "Sessions, when last counted."),
    "botwire_messages": _Family("gauge", "Messages, when last counted."),
    "botwire_value_bytes": _Family("gauge", "Bytes of values and messages as UTF-8, when last counted."),
    "botwire_counted_seconds_ago": _Family("gauge", "Age of the figures that are counted now and then."),
    "botwire_processes": _Family("gauge", "Processes whose counts these are."),
    "botwire_build_info": _Family("gauge", "What runs here.", ("version", "python", "store")),
}
"""Every metric of botwire's own: its kind, what it says, its labels. Counters are shown with ``_total``."""

Labels = tuple[str, ...]
Sample = float | Histogram
Samples = dict[tuple[str, Labels], Sample]


class Metrics:
    """The counts of one process.

    Args:
        store: what is served.
        folder: where the processes of one server put their counts together; None for one process.
    """

    def __init__(self, store: Any, folder: Path | None = None) -> None:
        self.requests: dict[tuple[str, str, int], Histogram] = {}
        self.in_progress: dict[str, int] = {}
        self.store_calls: dict[str, SharedHistogram] = {}
        self.fast_get = Histogram()
        """The store's ``get``, where it is called on the event loop."""
        self.commit_batches = SharedHistogram(BATCHES)
        self.queue_seconds = SharedHistogram()
        self.waiting: Any = None
        """Tells how many writes wait."""
        self._store = store
        self._counters: dict[tuple[str, Labels], float] = {}
        self._lock = threading.Lock()
        self._sizes = Sizes(store)
        self.sharing = None if folder is None else Sharing(folder, self.samples)
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(self))
        if folder is None:
            ProcessCollector(registry=self._registry)

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Add to one of the counters that are not counted elsewhere."""
        with self._lock:
            self._counters[name, labels] = self._counters.get((name, labels), 0) + by

    def text(self, accept: str) -> tuple[bytes, str]:
        """All metrics, and the content type of the form that ``accept`` asks for."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind

    @property
    def registry(self) -> CollectorRegistry:
        """For prometheus-client's own server."""
        return self._registry

    def samples(self) -> Samples:
        """What this process counted."""
        found: Samples = {}
        for (method, route, status), histogram in list(self.requests.items()):
            labels = (method, route, str(status))
            found["botwire_request_seconds", labels] = histogram
            found["botwire_requests", labels] = sum(histogram.counts)
        found |= {("botwire_requests_in_progress", (route,)): float(count) for route, count in list(self.in_progress.items())}
        calls: dict[str, Histogram] = {**self.store_calls, **({"get": self.fast_get} if self.fast_get.sum else {})}
        watchers = sum(count for route, count in list(self.in_progress.items()) if route.startswith(WATCH))
        found |= {("botwire_store_seconds", (call,)): histogram for call, histogram in calls.items() if histogram.sum}
        found |= {("botwire_commit_batches", ()): self.commit_batches, ("botwire_queue_seconds", ()): self.queue_seconds}
        found |= {("botwire_watchers", ()): float(watchers), ("botwire_queue_batches", ()): float(self.waiting() if self.waiting else 0)}
        figures: dict[str, int] = getattr(self._store, "sweeps", {})
        found |= {(f"botwire_{name}", ()): float(count) for name, count in figures.items()}
        with self._lock:
            return found | self._counters

    def all_samples(self) -> Iterator[tuple[tuple[str, Labels], Sample]]:
        """What this process and its fellows counted, and the figures that are everybody's."""
        processes = 1
        samples = self.samples()
        if self.sharing is not None:
            samples, processes = self.sharing.together(samples, lambda name: FAMILIES[name])
        yield from samples.items()
        yield ("botwire_processes", ()), float(processes)
        scheme = str(self._store.url).partition("://")[0]
        yield ("botwire_build_info", (__version__, platform.python_version(), scheme)), 1.0
        for name, value in self._sizes.figures().items():
            yield (f"botwire_{name}", ()), value


class _Collector(Collector):
    """Hands the counts to prometheus-client."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register is not to read."""
        return []

    def collect(self) -> Iterable[Metric]:
        """One family after the other."""
        families = {name: _empty(name, family) for name, family in FAMILIES.items()}
        for (name, labels), sample in self._metrics.all_samples():
            _add(families[name], labels, sample)
        return [family for family in families.values() if family.samples]


_KINDS = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}


def _empty(name: str, family: _Family) -> Metric:
    return _KINDS[family.kind](name, family.about, labels=family.labels)


def _add(family: Metric, labels: Labels, sample: Sample) -> None:
    if isinstance(family, HistogramMetricFamily) and isinstance(sample, Histogram):
        bounds = [*map(repr, sample.bounds), "+Inf"]
        cumulative: list[tuple[str, float]] = []
        for bound, count in zip(bounds, list(sample.counts), strict=True):
            cumulative.append((bound, count + (cumulative[-1][1] if cumulative else 0)))
        family.add_metric(labels, cumulative, sum_value=sample.sum)
    elif isinstance(family, CounterMetricFamily | GaugeMetricFamily) and isinstance(sample, int | float):
        family.add_metric(labels, sample)
