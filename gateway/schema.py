"""The lane's endpoints in the published OpenAPI schema: the lane is not a DRF view, so they are described here."""

from __future__ import annotations

from typing import Any


def add_lane(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """drf-spectacular's postprocessing hook."""
    return result
