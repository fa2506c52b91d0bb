"""The main job from end to end, in a browser, against the whole product as `make run` starts it.

Sign up, verify, top up, make a key, let a gateway call with it, see the call and the entry. And a declined card.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from config.embedded import BASE_DIR
from tests.browser import plan_walk
from tests.browser.shots import FLAGS
from tests.product import Copy, free_port, remove_elsewhere

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PASSWORD = "a long enough passphrase"
GOOD_CARD, POOR_CARD = "4242 4242 4242 4242", "4000 0000 0000 9995"
MODEL = "openai/gpt-5"


class Product:
    """The running copy, and its operator's command line."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.url = f"http://127.0.0.1:{port}"
        self.copy = Copy(folder, port)
        self.copy.wait_for("Meterhall is ready", seconds=240)

    def manage(self, *arguments: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=BASE_DIR,
            env=environment | {"PORT": str(self.port), "DATA_DIR": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, chromium_path: str) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    running = Product(folder, free_port())
    yield running
    assert running.copy.finish(signal.SIGINT) == 0
    remove_elsewhere(folder)


@pytest.fixture(scope="module")
def browser(chromium_path: str, product: Product) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium_path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, product: Product) -> Iterator[Page]:
    """A visitor's page; what the console complains of fails the test at its end."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US", base_url=product.url)
    context.set_default_timeout(30_000)
    opened = context.new_page()
    noise: list[str] = []
    opened.on("console", lambda message: noise.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: noise.append(str(error)))
    yield opened
    context.close()
    # The provider's page answers a declined card with 402, and the browser says so.
    assert [line for line in noise if "402 (Payment Required)" not in line] == []


def signed_up(page: Page, product: Product, email: str) -> None:
    """From the landing page through the mailed link to the overview."""
    page.goto("/")
    page.get_by_role("link", name="Sign up").first.click()
    page.fill("[name=email]", email)
    page.fill("[name=password1]", PASSWORD)
    page.fill("[name=password2]", PASSWORD)
    page.locator("main form button[type=submit]").click()
    expect(page.locator("main")).to_contain_text(email)
    mailbox = page.context.new_page()
    mailbox.goto(f"/dev/mail/?to={email}")
    link = mailbox.locator(".mail-text a[href*='confirm-email']").first.get_attribute("href")
    mailbox.close()
    assert link is not None
    page.goto(link)
    page.locator("main form button").first.click()
    page.wait_for_url("**/overview")


def paid_by_card(page: Page, number: str) -> None:
    """Choose $20 and fill in the provider's page."""
    page.goto("/billing/top-up")
    page.locator("input[name=preset][value='20']").check(force=True)
    page.locator("form[data-top-up] button[type=submit]").click()
    page.wait_for_url("**/sandbox/checkout/**")
    filled_in(page, number)


def filled_in(page: Page, number: str = GOOD_CARD) -> None:
    """Pay on the provider's page."""
    page.fill("[name=number]", number)
    page.fill("[name=expiry]", "12 / 34")
    page.fill("[name=cvc]", "123")
    page.fill("[name=name]", "Lin Wei")
    page.locator("button[name=pay][value=card]").click()


def key_made(page: Page) -> str:
    """A key called `first`; its secret, which the page shows once."""
    page.goto("/keys")
    page.get_by_role("link", name=re.compile("New key|Create")).first.click()
    if "reauthenticate" in page.url:
        page.fill("[name=password]", PASSWORD)
        page.locator("main form button[type=submit]").first.click()
    page.fill("[name=name]", "first")
    page.locator("main form button.btn-primary").last.click()
    secret = page.locator("#secret").inner_text()
    assert re.fullmatch(r"sk-pg-v1-\w{49}", secret)
    return secret


def called(product: Product, secret: str) -> dict[str, Any]:
    """One call by a gateway: authorise, capture."""
    token = product.manage("create_gateway_token", "browser test")
    with httpx.Client(base_url=product.url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as gateway:
        held = gateway.post(
            "/api/v1/authorizations",
            json={
                "request_id": "the-first-call",
                "api_key": secret,
                "model": MODEL,
                "estimate": {"input_tokens": 12_000, "max_output_tokens": 4000},
            },
        )
        assert held.status_code == 201, held.text
        done = gateway.post(
            f"/api/v1/authorizations/{held.json()['id']}/capture",
            json={
                "usage": {"input_tokens": 12_000, "output_tokens": 3000, "cache_read_tokens": 8000},
                "upstream_status": 200,
            },
        )
        assert done.status_code == 200, done.text
        answer: dict[str, Any] = done.json()
        return answer


def test_from_sign_up_to_the_first_call_in_details_and_transactions(page: Page, product: Product):
    signed_up(page, product, "first@example.com")
    paid_by_card(page, GOOD_CARD)
    page.wait_for_url("**/billing/top-up/product_*")
    expect(page.locator("[data-order-status]")).to_have_attribute("data-order-status", "credited")
    expect(page.locator("#header-balance")).to_contain_text("$20.00")

    secret = key_made(page)
    charged = called(product, secret)
    assert charged["status"] == "captured"
    cents = f"${charged['charge'].rstrip('0')}"

    page.goto("/billing/details")
    row = page.locator("tbody tr[data-row]")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("12,000")
    expect(row).to_contain_text(cents)
    row.locator("a[data-row-link]").click()
    expect(page.locator("body")).to_contain_text("the-first-call")
    expect(page.locator("body")).to_contain_text("recomputed, equal")

    page.goto("/billing/transactions")
    rows = page.locator("tbody tr[data-row]")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("1 call")
    expect(rows.nth(1)).to_contain_text("$20.00")

    page.goto("/keys")
    expect(page.locator("tbody tr[data-row]").first).to_contain_text(secret[-4:])
    expect(page.locator("body")).not_to_contain_text(secret)


@pytest.mark.parametrize(
    ("language", "reason"),
    [("en", "Your bank declined the card: insufficient funds"), ("zh-hans", "余额不足")],
)
def test_a_declined_card_says_why_in_both_languages(page: Page, product: Product, language: str, reason: str):
    """F025, F033."""
    signed_up(page, product, f"declined-{language}@example.com")
    paid_by_card(page, POOR_CARD)
    expect(page.locator("[role=alert], .alert").first).to_be_visible()  # still on the provider's page
    page.goto("/billing/top-up")
    if language == "zh-hans":
        page.locator(
            "form[action*='language'] button[value='zh-hans'], button[name=language][value='zh-hans']"
        ).first.evaluate("button => button.closest('form').requestSubmit(button)")
        expect(page.locator("html")).to_have_attribute("lang", re.compile("^zh", re.IGNORECASE))
    page.locator("a[href*='/billing/top-up/product_']").first.click()
    check = page.locator("form[action$='/check'] button")
    if check.count():
        check.first.click()
    expect(page.locator("#order-status")).to_contain_text(reason)
    expect(page.locator("#header-balance")).to_contain_text("$0.00")


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_a_plan_from_the_pricing_page_to_its_cancellation(page: Page, product: Product, language: str):
    """F072, F076-F083, C26, C29: bought, counted, full, paid by Extra Usage, upgraded, cancelled and taken back."""
    signed_up(page, product, f"plan-{language}@example.com")
    paid_by_card(page, GOOD_CARD)
    page.wait_for_url("**/billing/top-up/product_*")
    if language != "en":
        plan_walk.spoken(page, language)
    plan_walk.bought(page, "pro", filled_in)
    counters = page.locator(".counter")
    expect(counters).to_have_count(3)
    expect(counters.first).to_contain_text("50.0")

    secret = plan_walk.key_made(page, PASSWORD)
    token = product.manage("create_gateway_token", f"plan {language}")
    with plan_walk.Gateway(product.url, token, secret) as gateway:
        used = gateway.call(800_000)  # $1 of list price: 39.6 of 50 Flows
        assert (used["funding"], used["flows"], used["charge"]) == ("subscription", "39.600000", "0.0000000000")
        page.goto(plan_walk.COCKPIT)
        expect(counters.first).to_contain_text("10.4")

        full = gateway.authorize(800_000)
        assert (full.status_code, full.json()["code"]) == (429, "flow_5h_exhausted")
        plan_walk.extra_usage_on(page, "5")
        paid = gateway.call(800_000)
        assert (paid["funding"], paid["flows"]) == ("extra_usage", "0.000000")

        plan_walk.upgraded(page, "max")
        expect(counters.first).to_contain_text("260.4")  # a full new window less the Flows that were used
        assert gateway.call(800_000)["funding"] == "subscription"
    plan_walk.cancelled_and_taken_back(page)
    page.goto(f"{plan_walk.COCKPIT}/history")
    expect(page.locator("tbody tr[data-row]")).to_have_count(2)
