"""A price from draft to publication in a browser: two people, a rehearsal that the page follows by itself."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.db import connections
from playwright.sync_api import Browser, Page, expect, sync_playwright

from accounts.models import User
from billing.catalog.models import PriceVersion
from billing.metering import rehearsal
from billing.metering.models_rehearsal import Rehearsal
from config import clock
from tests import factories, live
from tests.browser.shots import FLAGS, sign_in
from tests.browser.test_shell import opened
from tests.staff import person

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]


def member(role: str, language: str) -> User:
    """Somebody of staff who can sign in."""
    who = person(role, email=f"{role}@example.com", password=factories.PASSWORD, locale=language)
    EmailAddress.objects.create(user=who, email=who.email, verified=True, primary=True)
    return who


@pytest.fixture
def server() -> Iterator[str]:
    account, version, now = factories.funded("2"), factories.price(), clock.now()
    for minutes in (20, 10):
        held = factories.hold(account, version, "1", now=now - timedelta(minutes=minutes))
        factories.capture(held.id, now=now - timedelta(minutes=minutes), input_tokens=900)
    with live.serving() as url:
        yield url


@pytest.fixture
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium_path, args=FLAGS)
        yield started
        started.close()


def signed_in(browser: Browser, server: str, who: User, noise: list[str], width: int) -> Page:
    page = opened(browser.new_context(viewport={"width": width, "height": 900}), noise)
    sign_in(page, server, who.email, factories.PASSWORD)
    return page


def aside(work: Callable[[], Any]) -> Any:
    """Ask the database in another thread: Playwright's loop runs in this one."""

    def done() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(done).result()


def work_it_off() -> None:
    """What the worker does."""
    run = Rehearsal.objects.get()
    while rehearsal.work(run.pk, now=clock.now()):
        pass


def decide(page: Page, address: str, action: str) -> None:
    """Open an action of the draft, give a reason, send it."""
    page.goto(f"{address}{action}/")
    page.fill("[name=reason]", "because")
    page.click("form.mh-card [type=submit]")


@pytest.mark.parametrize(
    ("language", "width", "found", "newly_refused"),
    [
        ("en", 1440, "What it found", "Who would newly have been refused"),
        ("zh-hans", 390, "结果", "哪些账户会新遭拒绝"),
    ],
)
def test_a_price_goes_from_draft_to_publication(
    server: str, browser: Browser, language: str, width: int, found: str, newly_refused: str
) -> None:
    noise: list[str] = []
    writer = signed_in(browser, server, aside(lambda: member("operations", language)), noise, width)
    writer.goto(f"{server}/admin/billing/pricedraft/draft-price/?model=test/model&channel=default")
    expect(writer.locator("[name=input_per_1k]")).to_have_value("1")
    writer.fill("[name=input_per_1k]", "2")
    writer.fill("[name=reason]", "the vendor raised it")
    writer.click("form.mh-card [type=submit]")
    writer.wait_for_url("**/change/")
    draft = writer.url.removesuffix("change/")

    writer.goto(f"{draft}rehearse/")
    writer.fill("[name=days]", "1")
    writer.click("form.mh-card [type=submit]")
    writer.wait_for_url("**/rehearsal/**")
    aside(work_it_off)
    expect(writer.get_by_role("heading", name=found)).to_be_visible(timeout=15_000)  # the page looks again by itself
    expect(writer.get_by_role("heading", name=newly_refused)).to_be_visible()
    expect(writer.get_by_text("+$1.80").first).to_be_visible()
    wider = writer.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider == 0
    decide(writer, draft, "propose")

    second = signed_in(browser, server, aside(lambda: member("finance", language)), noise, width)
    decide(second, draft, "publish")
    second.wait_for_url("**/change/")

    assert aside(lambda: PriceVersion.objects.get(number=2).input_per_1k) == Decimal(2)
    assert noise == []
