"""The frame around every page, in a browser: policy, theme, language, account, keyboard, narrow screens."""

from collections.abc import Iterator

import pytest
from allauth.account.models import EmailAddress
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from accounts.models import User
from tests import factories, live
from tests.browser.shots import FLAGS, sign_in

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    # Static files leave WhiteNoise as plain iterators, which Django reads whole before it sends them under ASGI.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]
PASSWORD = "correct horse battery"
PAGES = [
    "/",
    "/overview",
    "/account/",
    "/account/security",
    "/account/members",
    "/accounts/email/",
    "/accounts/password/change/",
    "/accounts/2fa/",
    "/accounts/sessions/",
    "/billing/top-up",
    "/billing/details",
    "/billing/transactions",
    "/keys",
]


@pytest.fixture
def member() -> User:
    user = factories.user("lin@example.com", password=PASSWORD, nickname="Lin Wei")
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    factories.account(user, name="Northwind Labs")
    factories.account(user, name="A very long name of a personal account that will not fit")
    return user


@pytest.fixture
def accounts(member: User) -> list[str]:
    """Asked before the browser starts: its event loop shuts the database out of this thread."""
    return [str(one) for one in member.memberships.values_list("account_id", flat=True)]


@pytest.fixture
def server(member: User) -> Iterator[str]:
    with live.serving() as url:
        yield url


@pytest.fixture
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium_path, args=FLAGS)
        yield started
        started.close()


def opened(context: BrowserContext, noise: list[str]) -> Page:
    """A page that writes down what the console and the policy complain of."""
    page = context.new_page()
    page.on("console", lambda message: noise.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: noise.append(str(error)))
    return page


def test_theme_language_account_and_copy_work_and_nothing_breaks_the_policy(
    accounts: list[str], server: str, browser: Browser, member: User
):
    """F001, F003."""
    noise: list[str] = []
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = opened(context, noise)
    sign_in(page, server, member.email, PASSWORD)
    root = page.locator("html")

    page.locator("header [data-theme-toggle]").first.click()
    page.reload()
    assert root.get_attribute("data-bs-theme") == "dark"
    # The server rendered it: without the script it is the same.
    raw = context.request.get(f"{server}/overview").text()
    assert 'data-bs-theme="dark"' in raw

    page.click(".account-id-now .btn-copy")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.inner_text(".account-id-now .account-id")
    assert copied in accounts

    page.click(".account-button")
    page.click("text=A very long name")
    page.wait_for_load_state()
    assert "A very long name" in page.locator(".account-name").inner_text()

    page.click("header [aria-label=Language]")
    page.click("button[value=zh-hans]")
    page.wait_for_selector("html[lang=zh-hans]")
    assert page.locator("h1").inner_text() == "概览"
    assert noise == []


def test_every_page_fits_a_narrow_screen(server: str, browser: Browser, member: User):
    noise: list[str] = []
    page = opened(browser.new_context(viewport={"width": 390, "height": 844}), noise)
    sign_in(page, server, member.email, PASSWORD)
    widths = {}
    for path in PAGES:
        page.goto(f"{server}{path}", wait_until="networkidle")
        widths[path] = page.evaluate("document.documentElement.scrollWidth")

    assert {path: width for path, width in widths.items() if width != 390} == {}
    assert noise == []


def test_the_keyboard_reaches_the_content_and_the_menus(server: str, browser: Browser, member: User):
    page = opened(browser.new_context(viewport={"width": 390, "height": 844}), [])
    sign_in(page, server, member.email, PASSWORD)
    page.goto(f"{server}/overview", wait_until="networkidle")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip-link"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"

    page.focus(".navbar-toggler")
    page.keyboard.press("Enter")
    page.wait_for_selector("#menu.show .nav-link")
    page.focus(".account-button")
    page.keyboard.press("Enter")
    page.wait_for_selector(".account-menu.show")
    page.keyboard.press("ArrowDown")
    assert "dropdown-item" in page.evaluate("document.activeElement.className")
    page.keyboard.press("Escape")
    page.wait_for_selector(".account-menu:not(.show)", state="attached")
