"""The "Select a Key" dialog in a browser: open, create a key, refuse without consent, turn on (F080-F082, C22)."""

from collections.abc import Iterator

import pytest
from allauth.account.models import EmailAddress
from playwright.sync_api import Browser, expect, sync_playwright

from accounts.models import User
from tests import factories, live
from tests.browser.shots import FLAGS, sign_in
from tests.factories import PASSWORD

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    # Static files leave WhiteNoise as plain iterators, which Django reads whole before it sends them under ASGI.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]
PAGE = "/platform/subscription/extra-usage"


@pytest.fixture
def member() -> User:
    user = factories.user("lin@example.com", password=PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    account = factories.account(user, name="Northwind Labs")
    factories.credit(account, "10")
    factories.key(account, name="web app")
    return user


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


@pytest.mark.parametrize("width", [1440, 390])
def test_the_dialog_creates_a_key_and_turns_extra_usage_on(width: int, server: str, browser: Browser, member: User):
    noise: list[str] = []
    page = browser.new_context(viewport={"width": width, "height": 844}).new_page()
    page.on("console", lambda message: noise.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: noise.append(str(error)))
    sign_in(page, server, member.email, PASSWORD)
    page.goto(f"{server}{PAGE}")
    page.click("text=Turn on")
    dialog = page.locator("#dialog.show")
    expect(dialog.locator("h2")).to_have_text("Select a Key")

    dialog.locator("[name=monthly_cap]").fill("33.50")
    dialog.locator("text=Create new key").click()
    dialog.locator("[name=new-name]").fill("for extra usage")
    dialog.locator("[name=new-name]").press("Enter")
    dialog.locator("#secret").wait_for()
    assert dialog.locator("#secret").inner_text().startswith("sk-pg-v1-")
    assert dialog.locator("[name=monthly_cap]").input_value() == "33.50"  # what was typed stays

    dialog.locator("[name=monthly_cap]").press("Enter")
    expect(dialog.locator(".field-error")).to_contain_text("Tick the box")
    assert dialog.locator("#secret").count() == 0
    dialog.locator("[name=agree]").check()
    dialog.get_by_role("button", name="Select", exact=True).click()

    expect(page.locator("main")).to_contain_text("Extra Usage is on.")
    expect(page.locator("main")).to_contain_text("for extra usage")
    expect(page.locator("main")).to_contain_text("of $33.50")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # A browser notes each answer of 422 in its console; nothing else may be there.
    assert [line for line in noise if "422" not in line] == []
