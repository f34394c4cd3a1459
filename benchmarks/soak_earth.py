"""The embedded Earth's server for a long time: eight clients, requests changed at random, hang-ups, idle connections.

    python -m benchmarks.soak_earth --minutes 30 --seed 1

Starts ``dwplus earth serve`` as a process of its own and sends it the project's own requests: whole, changed at random,
cut, byte by byte, or left unread. Fails where an answer is a 500, the server ends, a plain request is not answered
afterwards, or memory has grown by more than a tenth between the first third and the last.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections import Counter
from typing import Any

from benchmarks.fuzz_earth import Fuzzer, real_graphs

#: Clients at once, and connections that only idle.
CLIENTS, IDLE = 8, 400
#: Seconds between two looks at memory, and that an answer may take.
LOOK_SECONDS, ANSWER_SECONDS = 5.0, 60.0
#: Growth of memory, last third against first, that fails.
GROWTH = 1.10


class Soak:
    """Clients of one server, and what became of their requests."""

    def __init__(self, host: str, port: int, until: float) -> None:
        self.host, self.port, self.until = host, port, until
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.lock = threading.Lock()

    def note(self, what: str, failure: str = "") -> None:
        """Count an outcome."""
        with self.lock:
            self.counts[what] += 1
            if failure:
                self.failures.append(failure)

    def client(self, seed: int, real: list[dict[str, Any]]) -> None:
        """Requests until the end, one after the other."""
        fuzzer = Fuzzer(seed)
        while time.monotonic() < self.until:
            method, path, body = fuzzer.request(real)
            try:
                self.one(fuzzer.random, method, urllib.parse.quote(path), body)
            except (OSError, http.client.HTTPException) as error:
                self.note(type(error).__name__)

    def one(self, rng: random.Random, method: str, path: str, body: bytes) -> None:
        """A request, treated well or badly."""
        way = rng.choices(("whole", "cut", "hang up", "drip"), (85, 5, 8, 2))[0]
        connection = http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_SECONDS)
        with contextlib.closing(connection):
            if way == "whole":
                connection.request(method, path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
                wrong = f"500: {content[:300]!r} to {body[:2000]!r}" if answer.status == 500 else ""
                self.note(str(answer.status), wrong)
                return
            connection.connect()
            head = (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n").encode()
            if way == "cut":
                connection.sock.sendall(head + body[:len(body) // 2])
            elif way == "hang up":
                connection.sock.sendall(head + body)
            else:
                for sign in head[:20]:
                    connection.sock.sendall(bytes([sign]))
                    time.sleep(0.02)
            self.note(way)

    def idle(self) -> None:
        """Connections that do nothing, opened again and again."""
        while time.monotonic() < self.until:
            held = []
            for _ in range(IDLE):
                with contextlib.suppress(OSError):
                    held.append(socket.create_connection((self.host, self.port), timeout=2))
            time.sleep(min(10.0, max(0.0, self.until - time.monotonic())))
            for one in held:
                one.close()


def resident(process: subprocess.Popen[str]) -> float:
    """MB of memory that a process holds."""
    with open(f"/proc/{process.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> int:
    """Soak, print, and say by the exit code whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with subprocess.Popen([sys.executable, "-m", "dwplus", "earth", "serve"], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        host, port = server.stdout.readline().strip().removeprefix("http://").split(":")
        soak = Soak(host, int(port), time.monotonic() + 60 * options.minutes)
        real = real_graphs()
        threads = [threading.Thread(target=soak.client, args=(options.seed * 1000 + i, real), daemon=True)
                   for i in range(CLIENTS)]
        threads.append(threading.Thread(target=soak.idle, daemon=True))
        for thread in threads:
            thread.start()
        memory = []
        while time.monotonic() < soak.until and server.poll() is None:
            time.sleep(min(LOOK_SECONDS, 60 * options.minutes / 20))
            if server.poll() is None:
                memory.append(resident(server))
        for thread in threads:
            thread.join(ANSWER_SECONDS)
        alive = server.poll() is None and plain(host, int(port))
        server.terminate()
    third = max(1, len(memory) // 3)
    # The first minute loads what the first requests need.
    first, last = (sorted(part)[len(part) // 2] for part in (memory[third // 4:third] or memory[:1], memory[-third:]))
    print(f"{options.minutes:g} min, seed {options.seed}: "
          + ", ".join(f"{n} {what}" for what, n in sorted(soak.counts.items())))
    print(f"memory {first:.0f} MB in the first third, {last:.0f} MB in the last, {max(memory):.0f} MB at most; "
          f"{'alive' if alive else 'NOT ALIVE'}; {len(soak.failures)} times 500")
    for failure in soak.failures[:5]:
        print(failure)
    return 0 if alive and not soak.failures and last <= GROWTH * first else 1


def plain(host: str, port: int) -> bool:
    """Whether a plain request is answered."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/version")
        return connection.getresponse().status == 200
    return False


if __name__ == "__main__":
    sys.exit(main())
