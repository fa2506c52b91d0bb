"""Ids for rows that grow: UUIDv7, so that the newest rows lie together in every index."""

from uuid import UUID

from uuid_utils.compat import uuid7 as _uuid7


def uuid7() -> UUID:
    """A time-ordered UUID (RFC 9562 version 7) as a standard library UUID."""
    return _uuid7()
