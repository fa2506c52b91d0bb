"""Pictures of pages of a running server, for looking at: `python -m tests.browser.shots /overview /keys`.

Each page is taken wide and narrow, light and dark, in both languages, unless the options say otherwise; the files go
to `test-output/shots`. With `--user` and `--password` it signs in first. What the page wrote to the console (a refused
script, a missing file), a horizontal scroll bar and, when `--axe FILE` names axe-core's script, breaches of WCAG 2.2
AA are printed, and the exit status is then 1.
"""

import argparse
import itertools
import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = {"wide": (1440, 900), "narrow": (390, 844)}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "paths", nargs="+", help="paths or addresses; `/keys#name` waits for nothing but names the file"
    )
    parser.add_argument("--base", default="http://127.0.0.1:8000")
    parser.add_argument("--out", type=Path, default=Path("test-output/shots"))
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--widths", default="wide,narrow")
    parser.add_argument("--themes", default="light,dark")
    parser.add_argument("--languages", default="en,zh-hans")
    parser.add_argument("--click", default="", help="a selector to click before the picture, to open a menu or drawer")
    parser.add_argument("--fold", action="store_true", help="only what is above the fold")
    parser.add_argument("--axe", type=Path, help="node_modules/axe-core/axe.min.js")
    return parser.parse_args(argv)


def sign_in(page: Page, base: str, user: str, password: str) -> None:
    """Through the ordinary form."""
    page.goto(f"{base}/accounts/login/")
    page.fill("[name=login]", user)
    page.fill("[name=password]", password)
    page.click("main form button[type=submit]")
    page.wait_for_url(lambda url: "/accounts/login" not in url)


def take(page: Page, address: str, target: Path, options: argparse.Namespace) -> list[str]:
    """One picture; returns what is wrong with the page."""
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(f"console: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    answer = page.goto(address, wait_until="networkidle")
    if answer is None or answer.status >= 400:
        wrong.append(f"status {answer.status if answer else 'none'}")
    if options.click:
        page.click(options.click)
        page.wait_for_timeout(500)
    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if over > 0:
        wrong.append(f"scrolls sideways by {over} px")
    if options.axe:
        wrong += breaches(page, options.axe)
    page.screenshot(path=target, full_page=not options.fold)
    return wrong


def breaches(page: Page, script: Path) -> list[str]:
    """What axe-core finds against WCAG 2.2 A and AA."""
    page.evaluate(script.read_text())
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found: dict[str, Any] = page.evaluate("tags => axe.run({runOnly: tags})", tags)
    return [
        f"axe {rule['id']} ({rule['impact']}): {node['target'][0]} {node['any'][0]['message'] if node['any'] else ''}"
        for rule in found["violations"]
        for node in rule["nodes"][:4]
    ]


def shoot(browser: Browser, options: argparse.Namespace) -> int:
    """Every page in every dress; returns how many pictures had something wrong."""
    options.out.mkdir(parents=True, exist_ok=True)
    bad = 0
    signed_in: Any = None
    if options.user:
        context = browser.new_context()
        sign_in(context.new_page(), options.base, options.user, options.password)
        signed_in = context.storage_state()
        context.close()
    dresses = itertools.product(options.widths.split(","), options.themes.split(","), options.languages.split(","))
    for width, theme, language in dresses:
        size = WIDTHS[width]
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            storage_state=signed_in,
            color_scheme=theme,
            locale="zh-CN" if language.startswith("zh") else "en-US",
            timezone_id="Asia/Shanghai",
            bypass_csp=bool(options.axe),
        )
        first = context.new_page()
        first.goto(f"{options.base}/", wait_until="load")
        choose_language(first, language)
        first.close()
        for path in options.paths:
            page = context.new_page()
            address = path if "://" in path else f"{options.base}{path}"
            name = path.partition("://")[2] or path
            target = (
                options.out
                / f"{name.strip('/').replace('/', '_').replace('?', '_') or 'index'}-{width}-{theme}-{language}.png"
            )
            wrong = take(page, address, target, options)
            print(f"{'BAD ' if wrong else 'ok  '} {target}")  # noqa: T201  # a command's output
            for line in dict.fromkeys(wrong):
                print(f"       {line}")  # noqa: T201
            bad += bool(wrong)
            page.close()
        context.close()
    return bad


def choose_language(page: Page, language: str) -> None:
    """By the switch in the header, so that it is kept on a signed-in user as well."""
    page.evaluate(
        """code => {
            const button = document.querySelector(`form [name=language][value="${code}"]`);
            if (button) button.form.requestSubmit(button);
        }""",
        language,
    )
    page.wait_for_load_state("networkidle")


def main(argv: list[str] | None = None) -> int:
    """Start the browser; the exit status says whether all pages were in order."""
    options = parse(argv)
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        try:
            return 1 if shoot(browser, options) else 0
        finally:
            browser.close()


if __name__ == "__main__":
    sys.exit(main())
