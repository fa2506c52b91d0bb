"""Loaded by `python -m tests` before Django's settings: gives each xdist worker a Redis database of its own.

pytest-django does the same for PostgreSQL, with a database per worker.
"""

import os
from urllib.parse import urlsplit, urlunsplit


def own_redis(url: str, worker: str) -> str:
    """The URL of the database that follows the given one, for gw0, gw1 and so on."""
    parts = urlsplit(url)
    first = int(parts.path.strip("/") or 0)
    number = first + 1 + int(worker.removeprefix("gw"))
    return urlunsplit(parts._replace(path=f"/{number % 16}"))


if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and os.environ.get("REDIS_URL"):
    os.environ["REDIS_URL"] = own_redis(os.environ["REDIS_URL"], worker)
