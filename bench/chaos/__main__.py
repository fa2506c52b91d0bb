"""Kill parts of the running product at random and see that nothing is lost or doubled (07-reliability 7.1).

    python -m bench.chaos [--seed=1] [--seconds=120] [--faults=60] [--keep]

Starts the whole stack on its own ports, drives calls, top-ups and vouchers from clients that write down every
acknowledgement, breaks things for the given time, lets everything settle, and holds the log against the books and the
provider. Prints one table; the exit status is 1 when anything was lost or doubled or the books are wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

from bench.chaos.clients import Caller, Client, Log, Redeemer
from bench.chaos.clients_plans import Subscriber, shares
from bench.chaos.clients_refunds import Regretter
from bench.chaos.faults import Faults
from bench.chaos.stack import Stack

OFFSETS: Final = ("+3m", "+15m", "+1h", "+3h", "+6h")
"""How far the clock is moved while things settle: what sweeps find late, they find now."""
SETTLE_SECONDS: Final = 45.0
CALM_SECONDS: Final = 30.0
CODES: Final = 400
ITS_HOUR: Final = frozenset({"orders", "holds", "refunds", "plan refunds"})
"""What waits for a moment of its own: to expire, or to be asked about again."""
PARTIES: Final = ("captures", "voids", "top-ups", "redemptions", "plans", "Flows", "refunds")


def main() -> int:
    """Run once for a seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--faults", type=int, default=60, help="aim at this many at least")
    parser.add_argument("--keep", action="store_true", help="keep the data folder for a look")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="meterhall-chaos-"))
    try:
        return _run(folder, args)
    finally:
        if args.keep:
            _say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path, args: argparse.Namespace) -> int:
    _say(f"seed {args.seed}: starting the stack ...")
    with Stack(folder) as stack:
        people = json.loads(stack.run("bench.chaos.prepare").splitlines()[-1])
        terms = ("--amount", "1.25", "--codes", str(CODES), "--per-account", str(CODES))
        people["codes"] = json.loads(stack.run("manage", "create_voucher_campaign", "chaos", *terms))["codes"]
        log, over = Log(folder / "acknowledged.jsonl"), threading.Event()
        clients = _clients(stack.url, log, over, people, args.seed)
        faults = Faults(stack, seed=args.seed, seconds=args.seconds, at_least=args.faults)
        people_too = stack.beside("bench.chaos.people", str(log.path), str(args.seed))
        for client in clients:
            client.start()
        time.sleep(CALM_SECONDS)  # so that there is something to change and to give back when things break
        faults.start()
        faults.join()
        over.set()
        stack.wait_ready(120)
        for client in clients:
            client.join(120)
        faults.end()
        people_too.terminate()
        people_too.wait()
        _settle(stack, str(log.path), str(args.seed))
        told: dict[str, Any] = json.loads(stack.run("bench.chaos.verdict", str(folder / "acknowledged.jsonl")))
        checks = {name: stack.manage(name) for name in ("verify_books", "verify_charges")}
    return _table(args, faults, told, checks)


def _clients(url: str, log: Log, over: threading.Event, people: dict[str, Any], seed: int) -> list[Client]:
    def bearer(secret: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {secret}"}

    found: list[Client] = [
        Caller(url, log, over, seed=f"call-{seed}-{n}", headers=bearer(people["token"]), keys=people["callers"])
        for n in range(4)
    ]
    found += [
        Caller(url, log, over, seed=f"flow-{seed}-{n}", headers=bearer(people["token"]), keys=people["flow_callers"])
        for n in range(3)
    ]
    provider = bearer(people["provider"])
    for n, accounts in enumerate(shares(people["subscribers"], seed, 3)):
        more = {"headers": {}, "accounts": accounts, "provider": provider}
        found.append(Subscriber(url, log, over, seed=f"plan-{seed}-{n}", **more))
    for n, buyer in enumerate(people["buyers"]):
        headers = bearer(buyer["secret"])
        found.append(Regretter(url, log, over, seed=f"buy-{seed}-{n}", headers=headers, account=buyer["account"]))
        codes = random.Random(f"{seed}-{n // 2}").sample(people["codes"], CODES)  # two walk the same way, and race
        more = {"headers": headers, "account": buyer["account"], "codes": codes}
        found.append(Redeemer(url, log, over, seed=f"redeem-{seed}-{n}", **more))
    return found


def _settle(stack: Stack, *people: str) -> None:
    """Let time pass until nothing waits. What still waits at the end is in the table."""
    for offset in OFFSETS:
        (stack.folder / "clock-offset").write_text(offset)
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            stack.run("bench.chaos.people", *people, "--rest")
            time.sleep(3)
            left = json.loads(stack.run("bench.chaos.verdict", "waiting"))
            if not any(left.values()):
                return
            if not any(count for name, count in left.items() if name not in ITS_HOUR) and offset != OFFSETS[-1]:
                break  # only what waits for its hour
    return


def _table(args: argparse.Namespace, faults: Faults, told: dict[str, Any], checks: dict[str, tuple[int, str]]) -> int:
    lines = [f"seed {args.seed}, {args.seconds:.0f} s, {sum(faults.done.values())} faults"]
    lines += [f"  {kind:<26}{count:>6}" for kind, count in sorted(faults.done.items())]
    lines.append(f"  {'':<20}{'acknowledged':>14}{'lost':>8}{'doubled':>9}")
    lines += [
        f"  {name:<20}{told[name]['acknowledged']:>14}{told[name]['lost']:>8}{told[name]['doubled']:>9}"
        for name in PARTIES
    ]
    lines.append(
        f"  payments for top-ups that the provider took: {told['top-ups']['taken by the provider']}, of which "
        f"{told['top-ups']['never credited']} went back or wait for a person instead of being credited"
    )
    plans, flows = told["plans"], told["Flows"]
    lines.append(
        f"  plans bought {plans['paid']}, changed {plans['changed']}, renewed {plans['renewed']}, "
        f"second ones paid back {plans['paid back']}"
    )
    lines.append(
        f"  calls with Flows {flows['with Flows']}, by Extra Usage {flows['by Extra Usage']}, refused {flows['refused']}"
    )
    refunds = told["refunds"]
    lines.append(
        f"  refunds of plans {refunds['plans']}, of top-ups {refunds['top-ups']}, in the dashboard {refunds['external']}, "
        f"flagged for a person {refunds['flagged']}; sent {refunds['sent']}; refused {refunds['refused']}"
    )
    lines.append(f"  events: {told['events']['by state']}; open at the end: {told['open at the end']}")
    lines.append(f"  clients: {told['notes']}")
    wrong = [told[name] for name in PARTIES if told[name]["lost"] or told[name]["doubled"]]
    for found in wrong:
        lines.append(f"  EXAMPLES {found['examples']}")
    if told["events"]["parked"]:
        lines.append(f"  parked: {told['events']['parked']}")
    for name, (code, said) in checks.items():
        lines.append(f"  {name}: {said.splitlines()[-1] if said else ''} (exit {code})")
        if code:
            lines.append(said)
    _say("\n".join(lines))
    stuck = sum(
        told["open at the end"][name] for name in ("events", "orders", "plans", "changes", "refunds", "plan refunds")
    )
    few = sum(faults.done.values()) < args.faults
    return int(bool(wrong or stuck or few or any(code for code, _said in checks.values())))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
