"""What tests of the gateway's door share."""

from collections.abc import Iterator

import httpx
import pytest

from accounts import api_keys
from gateway import tokens
from tests import live
from tests.factories import NOON


@pytest.fixture
def live_stack(transactional_db) -> Iterator[str]:
    """The base URL of the running stack."""
    tokens.forget()
    with live.serving() as url:
        yield url


@pytest.fixture
def gateway_token(live_stack) -> str:
    """A gateway's token."""
    return api_keys.issue_gateway_token("test gateway", now=NOON, actor=None)[1]


@pytest.fixture
def gateway(live_stack, gateway_token) -> Iterator[httpx.Client]:
    """A gateway's HTTP client."""
    with httpx.Client(base_url=live_stack, headers={"Authorization": f"Bearer {gateway_token}"}, timeout=30) as client:
        yield client
