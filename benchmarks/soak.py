"""make soak: a million messages from MQTT into RocketMQ through `mqbridge run`. Nothing may be lost, and the runner must not grow.

The publisher is faster than the runner, so a backlog of most of the messages comes to be: it has to wait at the MQTT broker.
"""

import argparse
import re
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.end_to_end import Measured, outbound
from benchmarks.peers import mqbridge
from devstack import remoting
from devstack.mosquitto import Mosquitto
from devstack.processes import ManagedProcess
from devstack.rocketmq import RocketMQ

__all__ = ["MemoryWatch", "Sample", "is_flat"]

COUNT = 1_000_000
TOPIC = "soak"
# By then everything has been imported, every buffer has been used, and the backlog is there.
SETTLED_AT = 100_000
# On 36 MB the two allow for 12 MB: twice over the records that may be held at most (2,000 of some 3 KB), which need not be there yet by
# then. Growing by that until the end would be 13 bytes kept of each message. Measured were ups and downs of 1 MB.
GROWTH_FACTOR, GROWTH_MB = 1.2, 5.0
SAMPLE_EVERY_S = 0.5
SHOWN = 10  # samples

_GET_TOPIC_STATS_INFO = 202  # RequestCode
_MAX_OFFSET = re.compile(rb'"maxOffset":(\d+)')
_RSS = re.compile(r"VmRSS:\s+(\d+) kB")


@dataclass(frozen=True, slots=True)
class Sample:
    """The runner's memory when so many messages were stored."""

    stored: int
    rss_mb: float


class MemoryWatch:
    """Samples the resident memory of a process in a thread of its own, until the process ends."""

    def __init__(self, pid: int, cluster: RocketMQ, topic: str) -> None:
        self.samples: list[Sample] = []
        self._status = Path(f"/proc/{pid}/status")
        self._cluster = cluster
        self._topic = topic
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="memory-watch", daemon=True).start()

    def wait(self) -> None:
        """Wait for the process's end."""
        self._ended.wait(60)

    def _run(self) -> None:
        while (rss_mb := self._rss_mb()) is not None:
            self.samples.append(Sample(self._stored(), rss_mb))
            self._ended.wait(SAMPLE_EVERY_S)
        self._ended.set()

    def _rss_mb(self) -> float | None:
        try:
            found = _RSS.search(self._status.read_text(encoding="utf-8", errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            return None
        return (
            int(found[1]) / 1024 if found else None
        )  # one that has ended and is not waited for has a status without memory

    def _stored(self) -> int:
        answer = remoting.call(self._cluster.broker_address, _GET_TOPIC_STATS_INFO, {"topic": self._topic})
        return sum(map(int, _MAX_OFFSET.findall(answer)))


def is_flat(samples: Sequence[Sample], settled_at: int) -> bool:
    """Tell whether memory stayed near what it was when `settled_at` messages were stored."""
    later = [sample.rss_mb for sample in samples if sample.stored >= settled_at]
    return bool(later) and max(later) <= GROWTH_FACTOR * later[0] + GROWTH_MB


def main() -> int:
    """Run the soak and print what came of it; 1 if messages were lost or memory grew."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--count", type=int, default=COUNT, help="messages (default: %(default)s)")
    count: int = parser.parse_args().count
    measured, samples = _soak(count)
    settled_at = min(SETTLED_AT, count // 2)
    _show(measured, samples, count, settled_at)
    if measured.lost:
        print(f"{measured.lost} messages were lost", file=sys.stderr)
    if not is_flat(samples, settled_at):
        print("the runner's memory grew", file=sys.stderr)
    return 1 if measured.lost or not is_flat(samples, settled_at) else 0


def _soak(count: int) -> tuple[Measured, list[Sample]]:
    watches: list[MemoryWatch] = []

    def watched(direction: str, directory: Path, mosquitto: Mosquitto, cluster: RocketMQ, topic: str) -> ManagedProcess:
        process = mqbridge(direction, directory, mosquitto, cluster, topic)
        watches.append(MemoryWatch(process.pid, cluster, topic))
        return process

    with tempfile.TemporaryDirectory() as name, RocketMQ(Path(name) / "rocketmq") as cluster:
        measured = outbound(cluster, watched, TOPIC, Path(name) / "run", count)
        watches[0].wait()
    return measured, watches[0].samples


def _show(measured: Measured, samples: Sequence[Sample], count: int, settled_at: int) -> None:
    print(f"{'stored':>9}  RSS in MB")
    for sample in samples[:: max(1, len(samples) // SHOWN)]:
        print(f"{sample.stored:9,}  {sample.rss_mb:.1f}")
    print(f"{count:,} messages at QoS 1, {measured.rate:,.0f}/s, CPU {measured.cpu_s:.2f} s per 100,000")
    print(f"lost {measured.lost}, duplicates {measured.duplicates}")
    later = [sample.rss_mb for sample in samples if sample.stored >= settled_at]
    if later:
        print(
            f"RSS in MB: at the start {samples[0].rss_mb:.1f}, at {settled_at:,} stored {later[0]:.1f}, "
            f"largest after that {max(later):.1f}, at the end {later[-1]:.1f}; peak {measured.peak_rss_mb:.1f}"
        )


if __name__ == "__main__":
    sys.exit(main())
