"""How long labelpilot takes to start, and how much memory it has then.

    python examples/start_benchmark.py --runs 5

prints a line per run: `labelpilot --help`; then `labelpilot serve` in a data folder of its own,
until /health and until /ready answer 200, and its resident memory then. The first run is left out:
it makes the database, and fills the system's cache of files.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = [sys.executable, "-m", "backends.cli"]
POLL_S = 0.02
GIVE_UP_S = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(Path(folder)) for _ in range(runs + 1)][1:]
    names = ("help", "health", "ready", "memory")
    print("  ".join(f"{name:>8}" for name in names))
    for row in [*rows, [statistics.median(column) for column in zip(*rows, strict=True)]]:
        *times, memory_mb = row
        print("  ".join(f"{seconds:6.2f} s" for seconds in times), f" {memory_mb:5.0f} MB")
    print(f"the last line is the median of {runs}")


def measure(folder: Path) -> list[float]:
    """Seconds of --help, seconds to /health and to /ready, and megabytes then."""
    began = time.monotonic()
    subprocess.run([*COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)
    help_s = time.monotonic() - began
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    server = subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port)],
        env={**os.environ, "LABELPILOT_DATA_DIR": str(folder), "LABELPILOT_LOG_LEVEL": "error"},
    )
    try:
        times = [answered(server, port, path) - began for path in ("/health", "/ready")]
        return [help_s, *times, resident_mb(server.pid)]
    finally:
        server.terminate()
        server.wait()


def answered(server: subprocess.Popen[bytes], port: int, path: str) -> float:
    """When it first answers 200."""
    until = time.monotonic() + GIVE_UP_S
    while time.monotonic() < until and server.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GIVE_UP_S)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return time.monotonic()
        except ConnectionError:
            pass
        finally:
            connection.close()
        time.sleep(POLL_S)
    raise SystemExit(f"the server did not answer {path}")


def resident_mb(pid: int) -> float:
    """Of a process, in megabytes; Linux only."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
