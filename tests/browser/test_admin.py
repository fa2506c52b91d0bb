"""The staff console in a browser: its policy refuses nothing that its pages need, and a double click gives once."""

from collections.abc import Iterator

import pytest
from allauth.account.models import EmailAddress
from playwright.sync_api import Browser, sync_playwright

from tests import factories, live
from tests.browser.shots import FLAGS, sign_in
from tests.browser.test_shell import opened
from tests.staff import action_of, page_of, person

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]


@pytest.fixture
def desk() -> tuple[str, list[str], str]:
    """Somebody of finance, the pages to look at, and the address of the credit form."""
    who = person("finance", email="fin@example.com", password=factories.PASSWORD)
    EmailAddress.objects.create(user=who, email=who.email, verified=True, primary=True)
    account = factories.funded("10")
    held = factories.hold(account, factories.price(), "1")
    factories.capture(held.id, input_tokens=300)
    pages = ["/admin/", page_of(account), "/admin/billing/usagerecord/", "/admin/billing/topup/?status__exact=paid"]
    return who.email, pages, action_of(account, "give-credit")


@pytest.fixture
def server(desk: tuple[str, list[str], str]) -> Iterator[str]:
    with live.serving() as url:
        yield url


@pytest.fixture
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium_path, args=FLAGS)
        yield started
        started.close()


@pytest.mark.parametrize("width", [1440, 390])
def test_the_console_works_under_its_policy(
    desk: tuple[str, list[str], str], server: str, browser: Browser, width: int
):
    email, pages, credit = desk
    noise: list[str] = []
    page = opened(browser.new_context(viewport={"width": width, "height": 844}, color_scheme="dark"), noise)
    sign_in(page, server, email, factories.PASSWORD)

    for path in pages:
        page.goto(f"{server}{path}", wait_until="networkidle")
        assert "dark" in (page.locator("html").get_attribute("class") or ""), "the theme's script ran"
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider == 0, f"{path} scrolls sideways by {wider} px"
    page.locator("text=Filters").first.click()
    page.get_by_text("By time").wait_for()

    page.goto(f"{server}{credit}", wait_until="networkidle")
    page.fill("[name=amount]", "3.25")
    page.fill("[name=reason]", "goodwill")
    page.dblclick("form[data-once] [type=submit]")
    page.get_by_text("$3.25 was given.").wait_for()

    assert page.get_by_text("+$3.25").count() == 1
    assert noise == []
