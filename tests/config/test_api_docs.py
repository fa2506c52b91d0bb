"""The page of the published schema works under the site's content policy."""

import pytest
from playwright.sync_api import ConsoleMessage, sync_playwright

from tests import factories, live

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


# Static files leave WhiteNoise as plain iterators, which Django reads whole before it sends them under ASGI.
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_the_documentation_shows_every_operation_and_breaks_no_policy(chromium_path):
    said: list[str] = []
    factories.price("anthropic/claude-opus-4.6")

    def note(message: ConsoleMessage) -> None:
        said.append(f"{message.type}: {message.text}")

    with live.serving() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
        page = browser.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        answer = page.goto(f"{url}/api/docs/")
        assert answer is not None
        assert "unsafe-inline" not in answer.headers["content-security-policy"]
        page.wait_for_selector(".opblock")
        operations = page.locator(".opblock").count()
        page.locator("#operations-Gateway-authorizations_create .opblock-summary-control").click()
        page.wait_for_selector(".opblock-body pre")
        shown = page.locator("#operations-Gateway-authorizations_create").inner_text()
        page.locator("#operations-Prices-quotes_create .opblock-summary-control").click()
        page.locator("#operations-Prices-quotes_create .try-out__btn").click()
        page.locator("#operations-Prices-quotes_create .execute").click()
        page.wait_for_selector("#operations-Prices-quotes_create .live-responses-table tbody .response-col_status")
        status = page.locator("#operations-Prices-quotes_create .live-responses-table tbody .response-col_status").first
        tried = status.inner_text()
        browser.close()

    assert operations >= 20
    assert "sk-pg-v1-" in shown
    assert "200" in tried, tried
    assert said == [], said
