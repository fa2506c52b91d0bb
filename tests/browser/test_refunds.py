"""The refund button in a browser: preview, submit, status, in both languages, wide and narrow (F093-F096, C14).

Pictures of each state are kept in `build/screenshots/refunds`, for people to look at after a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import connections
from playwright.sync_api import Browser, Page, expect, sync_playwright

from billing.catalog.usage import Usage
from billing.metering import usage
from billing.metering.usage import FlowsOf
from config import clock
from refunds import tasks
from refunds.models_plan import PlanRefund
from subscriptions import quota
from subscriptions.models import PlanVersion
from tests import factories, live
from tests.browser.shots import FLAGS, sign_in
from tests.factories import PASSWORD
from tests.refunds.conftest import Shop, inbox, shop, work
from tests.subscriptions.conftest import Club, club, move

__all__ = ["Club", "Shop", "club", "inbox", "move", "shop", "work"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    # Static files leave WhiteNoise as plain iterators, which Django reads whole before it sends them under ASGI.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]
PICTURES = Path(settings.BASE_DIR) / "build" / "screenshots" / "refunds"  # listed at the end of a run
# Dialogs fade in; what turns for ever is not waited for.
SETTLED = """Promise.all(document.getAnimations().filter(one => one.effect.getComputedTiming().endTime < Infinity)
  .map(one => one.finished.catch(() => null)))"""
HISTORY = "/platform/subscription/history"


@dataclass
class Walk:
    """A customer at the billing history."""

    page: Page
    base: str
    club: Club
    name: str

    def open(self) -> None:
        """Press the button: the dialog shows the preview."""
        self.page.goto(f"{self.base}{HISTORY}")
        self.page.locator("[hx-get='/billing/refunds/plan']").click()
        expect(self.page.locator("#dialog.show #give-back")).to_be_visible()

    def submit(self) -> None:
        self.page.locator("#give-back .btn-primary").click()
        self.stands("processing")

    def stands(self, status: str) -> None:
        """The dialog says so, by itself."""
        expect(self.page.locator(f"#dialog-content [data-refund-status={status}]")).to_be_visible(timeout=15_000)

    def picture(self, what: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.evaluate(SETTLED)
        self.page.screenshot(path=PICTURES / f"{what}-{self.name}.png")


@pytest.fixture
def server(shop: Shop) -> Iterator[str]:
    with live.serving() as url:
        yield url


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        # Playwright keeps an event loop of its own in this thread; what is asked of the database is not asked in it.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        started = playwright.chromium.launch(executable_path=chromium_path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(params=[("en", 1440), ("en", 390), ("zh-hans", 1440), ("zh-hans", 390)], ids=lambda p: f"{p[0]}-{p[1]}")
def walk(request: pytest.FixtureRequest, club: Club, server: str, browser: Browser) -> Iterator[Walk]:
    language, width = request.param
    owner = club.owner
    owner.set_password(PASSWORD)
    owner.locale = language
    owner.save()
    EmailAddress.objects.update_or_create(user=owner, email=owner.email, defaults={"verified": True, "primary": True})
    noise: list[str] = []
    page = browser.new_context(viewport={"width": width, "height": 844}).new_page()
    page.on("console", lambda message: noise.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: noise.append(str(error)))
    club.subscribe("pro")
    sign_in(page, server, owner.email, PASSWORD)
    yield Walk(page, server, club, f"{language}-{width}")
    width_shown = page.evaluate("document.documentElement.scrollWidth")
    page.context.close()  # it asks again and again, and would ask a server that is gone
    connections.close_all()  # those of this loop, which nobody else closes
    assert width_shown == width
    assert noise == []


def test_success(walk: Walk) -> None:
    walk.open()
    walk.picture("preview")
    expect(walk.page.locator("#give-back .modal-footer")).to_contain_text("$19.00")
    walk.submit()
    walk.picture("processing")
    work()
    walk.stands("succeeded")
    walk.picture("succeeded")
    assert walk.club.plan() == "free"
    walk.page.locator("#dialog-content a[href^='/billing/refunds/']").click()
    expect(walk.page.locator("main [data-refund-status=succeeded]")).to_be_visible()
    expect(walk.page.locator("main")).to_contain_text("re_")
    walk.picture("detail")
    walk.page.goto(f"{walk.base}/billing/refunds")
    expect(walk.page.locator("[data-row]")).to_have_count(1)
    walk.picture("list")


def test_pending_then_success(walk: Walk) -> None:
    walk.club.sandbox.switch(refunds="pending")
    walk.open()
    walk.submit()
    work()
    walk.stands("processing")
    assert walk.club.plan() == "pro"
    [made] = walk.club.sandbox.refunds()
    walk.club.sandbox.settle(made["id"], "succeeded")
    walk.club.tell()
    walk.stands("succeeded")


def test_failed(walk: Walk) -> None:
    walk.club.sandbox.switch(refunds="fail")
    walk.open()
    walk.submit()
    work()
    walk.stands("failed")
    walk.picture("failed")
    assert walk.club.plan() == "pro"
    assert walk.club.row().paused_at is None


def test_cancelled(walk: Walk) -> None:
    walk.open()
    walk.submit()
    walk.page.locator("#dialog-content form[action$='/cancel'] button").click()
    refund = PlanRefund.objects.get()
    expect(walk.page.locator("#dialog.show")).to_have_count(0)  # the page loads again by itself
    expect(walk.page.locator("[hx-get='/billing/refunds/plan']")).to_be_visible()
    walk.page.wait_for_load_state("networkidle")
    walk.page.goto(f"{walk.base}/billing/refunds/{refund.pk}")
    expect(walk.page.locator("main [data-refund-status=cancelled]")).to_be_visible()
    walk.picture("cancelled")
    assert walk.club.row().paused_at is None


def test_not_eligible(walk: Walk) -> None:
    walk.club.sandbox.move_clock("+24h10m")
    walk.open()
    expect(walk.page.locator("#give-back [data-reason=window_closed]")).to_be_visible()
    expect(walk.page.locator("#give-back .modal-footer .btn-primary")).to_have_count(0)
    walk.picture("not-eligible")


def test_changed_by_a_call_under_way(walk: Walk) -> None:
    held = under_way(walk.club, "40")
    walk.open()
    expect(walk.page.locator("#give-back .alert-info")).to_be_visible()
    walk.picture("preview-with-an-open-call")
    walk.submit()
    work()
    walk.stands("processing")
    captured(held, "39.6")
    walk.club.sandbox.move_clock("+2m")
    tasks.sweep()
    walk.stands("succeeded")
    expect(walk.page.locator("#dialog-content [data-changed]")).to_contain_text("$18.05")
    walk.picture("changed")
    assert PlanRefund.objects.get().final_minor == 1805


def under_way(club: Club, flows: str) -> quota.FlowHeld:
    """A call on the plan that has not ended."""
    version = factories.price()
    plan = PlanVersion.objects.get(plan_id="pro")
    terms = FlowsOf("standard", Decimal("39.6"), Decimal(1), Decimal(0))
    now = clock.now()
    hold = factories.hold_request(club.account, version, "0", request_id=uuid4().hex, funding="subscription")
    request = quota.FlowRequest(hold=hold, flows=Decimal(flows), plan_version_id=plan.pk, flow_terms=terms)
    [held] = quota.admit([request], now=now, expires_at=now + timedelta(minutes=15))
    assert isinstance(held, quota.FlowHeld)
    assert held.outcome == "created"
    return held


def captured(held: quota.FlowHeld, flows: str) -> None:
    """It came to this many Flows."""
    tokens = int(Decimal(flows) / Decimal("39.6") * 1000)
    [done] = usage.capture([usage.Capture(authorization_id=held.id, usage=Usage(input_tokens=tokens))], now=clock.now())
    assert isinstance(done, usage.Charged), done
