"""A plan from the pricing page to its cancellation, in a browser, in whichever language: nothing here reads a word."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
from playwright.sync_api import Page, expect

COCKPIT = "/platform/subscription"
MODEL = "openai/gpt-5"
PRO_FIVE_HOURS = 50


def spoken(page: Page, language: str) -> None:
    """Switch the portal's language with the header's button."""
    page.locator(f"button[name=language][value='{language}']").first.evaluate("b => b.closest('form').requestSubmit(b)")
    expect(page.locator("html")).to_have_attribute("lang", re.compile(f"^{language}", re.IGNORECASE))


def bought(page: Page, plan: str, fill_in: Callable[[Page], None]) -> None:
    """From the plans to the provider's page and back."""
    page.goto("/pricing/subscription")
    page.locator(f"a[href$='/checkout?plan={plan}']").first.click()
    page.locator("form[action$='/checkout'] button.btn-primary").click()
    page.wait_for_url("**/sandbox/checkout/**")
    fill_in(page)
    page.wait_for_url(f"**{COCKPIT}")


def key_made(page: Page, password: str) -> str:
    """A subscription key; its secret, which the page shows once."""
    page.goto("/keys/new?kind=subscription")
    if "reauthenticate" in page.url:
        page.fill("[name=password]", password)
        page.locator("main form button[type=submit]").first.click()
    page.fill("[name=name]", "editor")
    page.locator("main form button.btn-primary").last.click()
    secret = page.locator("#secret").inner_text()
    assert re.fullmatch(r"sk-ss-v1-\w{49}", secret)
    return secret


class Gateway:
    """What a platform's gateway does with the key."""

    def __init__(self, url: str, token: str, secret: str) -> None:
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        self.secret = secret

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def authorize(self, tokens: int) -> httpx.Response:
        return self.http.post(
            "/api/v1/authorizations",
            json={
                "request_id": uuid4().hex,
                "api_key": self.secret,
                "model": MODEL,
                "estimate": {"input_tokens": tokens, "max_output_tokens": 0},
            },
        )

    def call(self, tokens: int) -> dict[str, Any]:
        """Authorise and capture; the answer to the capture."""
        held = self.authorize(tokens)
        assert held.status_code == 201, held.text
        done = self.http.post(
            f"/api/v1/authorizations/{held.json()['id']}/capture", json={"usage": {"input_tokens": tokens}}
        )
        assert done.status_code == 200, done.text
        answer: dict[str, Any] = done.json()
        return answer


def extra_usage_on(page: Page, cap: str) -> None:
    """The "Select a Key" dialog: a new key, the cap, the consent."""
    page.goto(COCKPIT)
    page.locator("a[hx-target='#dialog-content'].btn-primary").click()
    dialog = page.locator("#dialog-content")
    dialog.locator("[form='new-key'][type=text]").fill("overflow")
    dialog.locator("button[form='new-key']").click()
    expect(dialog.locator("#secret")).to_be_visible()
    dialog.locator("[name=monthly_cap]").fill(cap)
    dialog.locator("[name=agree]").check()
    dialog.locator(".modal-footer .btn-primary").click()
    expect(page.locator("form[action$='/extra-usage/off']")).to_be_attached()


def upgraded(page: Page, plan: str) -> None:
    """The preview, and its confirmation."""
    page.goto(f"{COCKPIT}/change?plan={plan}")
    page.locator("form[action$='/change'] button.btn-primary").click()
    page.wait_for_url(f"**{COCKPIT}")


def cancelled_and_taken_back(page: Page) -> None:
    """The renewal is cancelled with its preview, and the page offers to take that back."""
    page.goto(f"{COCKPIT}/cancel")
    page.locator("form[action$='/cancel'] button.btn-danger").click()
    page.wait_for_url(f"**{COCKPIT}")
    page.locator("form[action$='/cancel/undo'] button").click()
    expect(page.locator("form[action$='/cancel/undo']")).to_have_count(0)
