"""What tests of the gateway's door share."""

from collections.abc import Iterator

import httpx
import pytest

from accounts import api_keys
from gateway import tokens
from tests import live
from tests.factories import NOON


@pytest.fixture(scope="session")
def _server(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[str]:
    with django_db_blocker.unblock(), live.serving() as url:  # type: ignore[attr-defined]
        yield url


@pytest.fixture
def live_stack(transactional_db: None, _server: str) -> str:
    """The base URL of the running stack; one server serves all tests of a process."""
    tokens.forget()
    return _server


@pytest.fixture
def gateway_token(live_stack) -> str:
    """A gateway's token."""
    return api_keys.issue_gateway_token("test gateway", now=NOON, actor=None)[1]


@pytest.fixture
def gateway(live_stack, gateway_token) -> Iterator[httpx.Client]:
    """A gateway's HTTP client."""
    with httpx.Client(base_url=live_stack, headers={"Authorization": f"Bearer {gateway_token}"}, timeout=30) as client:
        yield client
