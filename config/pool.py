"""Throwing away the connections that a restart of PostgreSQL broke.

A pool that tries each connection before giving it out pauses a second and more for each dead one, so after a restart
callers would wait for many. Instead the first error of a connection has all idle ones tried at once; whoever met it
answers 503, and the next caller finds living connections.
"""

import logging

from django.db import connection

log = logging.getLogger(__name__)


def heal() -> None:
    """Try every idle connection and replace the dead; returns at once, also while the server is away."""
    pool = getattr(connection, "pool", None)  # PostgreSQL's alone
    if pool is not None:
        log.warning("a database connection broke; trying the others")
        pool.check()
