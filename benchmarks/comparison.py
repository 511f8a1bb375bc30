"""The end-to-end measurements, three rounds of each peer in turn, as results with their bars; and where the runner's time goes."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.end_to_end import Measured, inbound, outbound, paho_ceiling
from benchmarks.measuring import Bar, Result
from benchmarks.peers import CAMEL, MQBRIDGE, Peer, camel, mqbridge
from devstack.rocketmq import RocketMQ

__all__ = ["end_to_end", "profile"]

ROUNDS = 3
PEERS: dict[str, Peer] = {MQBRIDGE: mqbridge, CAMEL: camel}
PAHO = "a paho subscriber that only counts"
MODULES_SHOWN = 14
WAITING = ("wait",)  # functions whose own time is waiting for a broker

Direction = Callable[[RocketMQ, Peer, str, Path], Measured]


def end_to_end() -> Iterator[Result]:
    """Yield rate, CPU and memory of both directions through us and through Camel."""
    with tempfile.TemporaryDirectory() as name, RocketMQ(Path(name) / "rocketmq") as cluster:
        directory = Path(name)
        out = _rounds(cluster, directory, "out", outbound)
        out[PAHO] = [paho_ceiling(directory / f"paho{number}") for number in range(ROUNDS)]
        yield from _results("MQTT to RocketMQ", out, rate=Bar(1.3, goal=1.7), cpu=0.5, memory=0.1)
        into = _rounds(cluster, directory, "in", inbound)
        yield from _results("RocketMQ to MQTT", into, rate=Bar(1.3))


def _rounds(cluster: RocketMQ, directory: Path, way: str, measure: Direction) -> dict[str, list[Measured]]:
    measured: dict[str, list[Measured]] = {peer: [] for peer in PEERS}
    for number in range(ROUNDS):
        for at, (name, peer) in enumerate(PEERS.items()):
            topic = f"{way}-{at}-{number}"
            measured[name].append(measure(cluster, peer, topic, directory / topic))
            print(f"{way} {name}: {measured[name][-1]}", flush=True)
    return measured


def _results(
    title: str, measured: dict[str, list[Measured]], *, rate: Bar, cpu: float | None = None, memory: float | None = None
) -> Iterator[Result]:
    def results(name: str, unit: str, figure: Callable[[Measured], float], bar: Bar) -> Iterator[Result]:
        theirs = _result(f"{title}: {CAMEL}{name}", unit, measured[CAMEL], figure)
        bar = Bar(bar.limit, against=theirs, is_ceiling=bar.is_ceiling, goal=bar.goal)
        yield _result(f"{title}: {MQBRIDGE}{name}", unit, measured[MQBRIDGE], figure, bar)
        yield theirs
        for peer in measured.keys() - PEERS.keys():
            yield _result(f"{title}: {peer}{name}", unit, measured[peer], figure)

    yield from results("", "messages/s", lambda each: each.rate, rate)
    yield from results(", CPU", "s/100,000", lambda each: each.cpu_s, Bar(cpu, is_ceiling=True))
    yield from results(", peak memory", "MB", lambda each: each.peak_rss_mb, Bar(memory, is_ceiling=True))
    for name in PEERS:
        bar = Bar(0.0, is_ceiling=True) if name == MQBRIDGE else None
        yield _result(f"{title}: {name}, lost", "messages", measured[name], lambda each: each.lost, bar)
        yield _result(f"{title}: {name}, duplicates", "messages", measured[name], lambda each: each.duplicates)


def _result(
    name: str, unit: str, measured: list[Measured], figure: Callable[[Measured], float], bar: Bar | None = None
) -> Result:
    return Result(name, unit, tuple(figure(each) for each in measured), bar)


def profile(way: str = "outbound") -> str:
    """Run one burst with the runner's worker under cProfile, and return a table of where its time went, waiting left out."""
    measure: Direction = outbound if way == "outbound" else inbound
    with tempfile.TemporaryDirectory() as name, RocketMQ(Path(name) / "rocketmq") as cluster:
        times = Path(name) / "times"
        peer = partial(mqbridge, program=("benchmarks.profiled", str(times)))
        measure(cluster, peer, "profile", Path(name) / "run")
        return _profile_table(times.read_text(encoding="utf-8").splitlines())


def _profile_table(lines: list[str]) -> str:
    modules: Counter[str] = Counter()
    functions: dict[str, Counter[str]] = {}
    for line in lines:
        seconds, path, function = line.split(" ", 2)
        if function.rpartition(".")[2] not in WAITING:
            micros = round(float(seconds) * 1e6)
            modules[path] += micros
            functions.setdefault(path, Counter())[function] += micros
    total = modules.total()
    rows = ["| share | module | most of it in |", "|---|---|---|"]
    for path, of_module in modules.most_common(MODULES_SHOWN):
        busiest = [f"`{name}` {100 * part / total:.1f} %" for name, part in functions[path].most_common(3)]
        rows.append(f"| {100 * of_module / total:.1f} % | {path} | {', '.join(busiest)} |")
    return "\n".join(rows)
