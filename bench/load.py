"""The load generator: connections that authorise and capture, one after the other, as fast as they are answered.

    python -m bench.load HOST PORT TOKEN SECONDS CONNECTIONS KEYFILE RUN

A process of its own with a hand-written HTTP client, so that it takes as little of the machine as it can. Request ids
never repeat. Prints JSON: pairs, seconds, and the latencies of the authorize calls in milliseconds (p50, p99).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time


class Client(asyncio.Protocol):
    """One kept-alive connection with one request in flight."""

    def __init__(self) -> None:
        self.buffer = b""
        self.waiter: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length: ") + 16
        end = head.find(b"\r\n", at)
        length = int(head[at : end if end >= 0 else None])
        if len(rest) >= length and self.waiter is not None:
            self.buffer = rest[length:]
            waiter, self.waiter = self.waiter, None
            waiter.set_result((int(head[9:12]), rest[:length]))

    def connection_lost(self, error: Exception | None) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(error or ConnectionError("closed"))

    async def post(self, prefix: bytes, path: bytes, body: bytes) -> tuple[int, bytes]:
        self.waiter = asyncio.get_running_loop().create_future()
        self.transport.write(b"POST %s %s%d\r\n\r\n%s" % (path, prefix, len(body), body))  # type: ignore[attr-defined]
        return await self.waiter


async def main() -> None:
    host, port, token, seconds, connections, keyfile, run = sys.argv[1:]
    with open(keyfile) as file:
        keys = file.read().split()
    prefix = f"HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: ".encode()
    numbers = itertools.count()
    latencies: list[float] = []
    pairs = 0
    end = time.perf_counter() + float(seconds)

    async def caller() -> None:
        nonlocal pairs
        drawn = random.Random()
        _, client = await asyncio.get_running_loop().create_connection(Client, host, int(port))
        while time.perf_counter() < end:
            number = next(numbers)
            body = (
                f'{{"request_id":"{run}-{number}","api_key":"{drawn.choice(keys)}","model":"bench/model",'
                f'"estimate":{{"input_tokens":{drawn.randint(100, 4000)},"max_output_tokens":1000}}}}'
            ).encode()
            began = time.perf_counter()
            status, answer = await client.post(prefix, b"/api/v1/authorizations", body)
            latencies.append(time.perf_counter() - began)
            if status != 201:
                raise SystemExit(f"authorize: {status} {answer[:300]!r}")
            hold = answer[7:43]
            used = (
                b'{"usage":{"input_tokens":%d,"output_tokens":%d,"cache_read_tokens":80},"upstream_status":200,"latency_ms":1830}'
                % (
                    drawn.randint(100, 4000),
                    drawn.randint(1, 1000),
                )
            )
            status, answer = await client.post(prefix, b"/api/v1/authorizations/%s/capture" % hold, used)
            if status != 200:
                raise SystemExit(f"capture: {status} {answer[:300]!r}")
            pairs += 1
        client.transport.close()

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(int(connections))))
    took = time.perf_counter() - began
    latencies.sort()
    at = {p: latencies[min(len(latencies) - 1, int(len(latencies) * p / 100))] * 1000 for p in (50, 99)}
    sys.stdout.write(json.dumps({"pairs": pairs, "seconds": took, "p50": at[50], "p99": at[99]}))


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main())
    except ImportError:
        asyncio.run(main())
