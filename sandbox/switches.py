"""How the provider behaves from now on: how events travel, how refunds end, which calls go wrong.

hold             nothing is sent until it is released (`delivery.release`) or switched off again
disturb          ways in which deliveries go wrong: "lost", "duplicate", "delayed", "reordered"; none is normal
percent          the share of events that is disturbed; each gets one of the ways, drawn from `seed`
duplicates       how often a duplicated event is sent
delay_seconds    how late a delayed event is
reorder_seconds  within how long reordered events are shuffled
settle_seconds   how long asynchronous payments and refunds take
refunds          "succeed", "pending" or "requires_action" (until settled by hand), or "fail"
wallets          what an approval in Alipay or WeChat Pay comes to: "at_once", "delayed" or "away" (not available)
three_d_secure   "card" (the test card says whether the bank asks for it), "always" or "never"
"""

import random
import re
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F

from sandbox.models import Fault, Switches

DISTURBANCES = ("lost", "duplicate", "delayed", "reordered")
REFUNDS = ("succeed", "pending", "requires_action", "fail")
WALLETS = ("at_once", "delayed", "away")
THREE_D_SECURE = ("card", "always", "never")
_LIMITS = {
    "percent": 100,
    "seed": 2**31 - 1,
    "duplicates": 50,
    "delay_seconds": 864_000,
    "reorder_seconds": 3600,
    "settle_seconds": 864_000,
}
NAMES = ("hold", "disturb", "refunds", "wallets", "three_d_secure", *_LIMITS)


def current() -> Switches:
    return Switches.objects.get_or_create(pk=1)[0]


def as_json(switches: Switches | None = None) -> dict[str, Any]:
    switches = switches or current()
    return {
        **{name: getattr(switches, name) for name in NAMES},
        "faults": list(Fault.objects.order_by("pk").values("kind", "path_regex", "times", "status")),
    }


def set_switches(**values: Any) -> Switches:
    """Change some switches; ValueError for a name or a value that does not exist."""
    for name, value in values.items():
        if name == "disturb":
            allowed = isinstance(value, list | tuple) and all(way in DISTURBANCES for way in value)
        elif name == "refunds":
            allowed = value in REFUNDS
        elif name == "wallets":
            allowed = value in WALLETS
        elif name == "three_d_secure":
            allowed = value in THREE_D_SECURE
        elif name == "hold":
            allowed = isinstance(value, bool)
        else:
            number = isinstance(value, int) and not isinstance(value, bool)
            allowed = name in _LIMITS and number and 0 <= value <= _LIMITS[name]
        if not allowed:
            raise ValueError(f"{name}={value!r} is not a switch of the sandbox")
    current()
    if "seed" in values:
        values["decided"] = 0
    if "disturb" in values:
        values["disturb"] = list(values["disturb"])
    Switches.objects.filter(pk=1).update(**values)
    return current()


def reset() -> None:
    """Behave well again: all switches at their first values, no faults waiting."""
    Fault.objects.all().delete()
    Switches.objects.all().delete()


def add_fault(kind: str, path_regex: str, *, times: int = 1, status: int | None = None) -> Fault:
    """Let the next calls whose path matches go wrong.

    `fail` refuses before any work, with `status` (500). `lose` does the work and then cuts the connection, or answers
    with `status` where one is given.
    """
    try:
        re.compile(path_regex)
    except re.error as wrong:
        raise ValueError(f"{path_regex!r} is not a regular expression: {wrong}") from wrong
    if kind not in Fault.Kind.values or times < 1 or (status is not None and not 400 <= status <= 599):
        raise ValueError("A fault is `fail` or `lose`, at least once, with a status of 400 to 599 or none.")
    return Fault.objects.create(kind=kind, path_regex=path_regex, times=times, status=status)


def take_fault(path: str) -> Fault | None:
    """The fault that this call meets, if any; each is met `times` times, also by concurrent calls."""
    for fault in Fault.objects.filter(times__gt=0).order_by("pk"):
        met = re.search(fault.path_regex, path)
        if met and Fault.objects.filter(pk=fault.pk, times__gt=0).update(times=F("times") - 1):
            Fault.objects.filter(pk=fault.pk, times=0).delete()
            return fault
    return None


def plan_delivery() -> tuple[list[timedelta], bool]:
    """When the next event is to be sent (once or more, after these times), and whether it is lost on the way."""
    with transaction.atomic():
        switches = Switches.objects.select_for_update(no_key=True).get(pk=current().pk)
        if not switches.disturb:
            return [timedelta()], False
        switches.decided += 1
        switches.save(update_fields=["decided"])
    draw = random.Random(f"{switches.seed}:{switches.decided}")  # noqa: S311 - repeatable misbehaviour, not a secret
    if draw.uniform(0, 100) >= switches.percent:
        return [timedelta()], False
    way = draw.choice(sorted(switches.disturb))
    if way == "duplicate":
        return [timedelta()] * switches.duplicates, False
    if way == "delayed":
        return [timedelta(seconds=switches.delay_seconds)], False
    if way == "reordered":
        return [timedelta(milliseconds=draw.randrange(switches.reorder_seconds * 1000 + 1))], False
    return [timedelta()], True
