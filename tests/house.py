"""The parts of `make check` that are not one command: `python -m tests.house deploy|hosts|secrets|audit`."""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
AUDIT_SECONDS = 180


def deploy() -> list[str]:
    """`check --deploy` finds nothing to warn of with settings such as a production would have."""
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
    environment |= {
        "DEBUG": "false",
        "SECRET_KEY": secrets.token_urlsafe(64),
        "KEY_HASH_SECRET": secrets.token_urlsafe(64),
        "DATABASE_URL": "postgresql://meterhall@db.invalid/meterhall",
        "REDIS_URL": "redis://redis.invalid/0",
        "ALLOWED_HOSTS": "billing.example.com",
        "PUBLIC_URL": "https://billing.example.com",
        "STRIPE_SECRET_KEY": "sk_test_" + "x" * 24,
        "STRIPE_WEBHOOK_SECRET": "whsec_" + "x" * 24,
        "PYTHONWARNINGS": "error",
    }
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [(done.stdout + done.stderr).strip()]


def hosts() -> list[str]:
    """No lock or configuration file says where packages come from: that is for each machine to say."""
    found = []
    for path in tracked():
        if path.name == "package-lock.json":
            packages = json.loads(path.read_text())["packages"]
            found += [f"{path.name}: {name} has an address" for name, one in packages.items() if "resolved" in one]
        elif path.suffix == ".lock":
            found += lines_with(path, r"://|^\s*--(?!hash=)")
        elif path.name in {".npmrc", "pip.conf", "uv.toml", "pyproject.toml", "Makefile", "Dockerfile", "run"}:
            found += lines_with(
                path, r"(registry|index|index-url|find-links|trusted-host)\s*=\s*\S*(://|\.(org|com|io)\b)"
            )
    return found


def leaked() -> list[str]:
    """No file holds a secret of a known form; `pragma: allowlist secret` on a line says that it is worthless."""
    from detect_secrets import SecretsCollection
    from detect_secrets.settings import transient_settings

    plugins = (
        "AWSKeyDetector AzureStorageKeyDetector CloudantDetector DiscordBotTokenDetector GitHubTokenDetector "
        "GitLabTokenDetector JwtTokenDetector MailchimpDetector NpmDetector OpenAIDetector PrivateKeyDetector "
        "PypiTokenDetector SendGridDetector SlackDetector SquareOAuthDetector StripeDetector TwilioKeyDetector"
    )
    filters = ("allowlist.is_line_allowlisted", "common.is_invalid_file")
    settings = {
        "plugins_used": [{"name": name} for name in plugins.split()],
        "filters_used": [{"path": f"detect_secrets.filters.{name}"} for name in filters],
    }
    collection = SecretsCollection()
    with transient_settings(settings):
        for path in tracked():
            if path.suffix not in {".lock", ".png", ".woff2", ".mo"} and path.name != "package-lock.json":
                collection.scan_file(str(path))
    return [f"{Path(name).relative_to(BASE_DIR)}:{one.line_number}: {one.type}" for name, one in collection]


def audit() -> list[str]:
    """No pinned package has a known vulnerability. Without an answer from the service it says so and passes."""
    lock = "requirements-dev.lock"
    options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", *options, "-r", lock],
            cwd=BASE_DIR,
            capture_output=True,
            text=True,
            timeout=AUDIT_SECONDS,
            check=False,
        )
        packages = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        say("Skipped: the vulnerability service does not answer from here.")
        return []
    asked = [one for one in packages if "skip_reason" not in one]
    say(f"{len(asked)} of {len(packages)} packages could be looked up{'.' if asked else ': skipped.'}")
    return [
        f"{one['name']} {one['version']}: {known['id']}, fixed in {', '.join(known['fix_versions']) or 'no version'}"
        for one in asked
        for known in one["vulns"]
    ]


def tracked() -> list[Path]:
    """The files under version control, or all but the generated ones where there is no repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=BASE_DIR, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths = [BASE_DIR / name for name in listed.stdout.split("\0") if name]
        return [path for path in paths if path.is_file()]
    skipped = {".venv", "node_modules", ".data", "staticfiles", "test-output"}
    return [path for path in BASE_DIR.rglob("*") if path.is_file() and not skipped & set(path.parts)]


def lines_with(path: Path, pattern: str) -> list[str]:
    """The lines of a file that match, each with its place."""
    lines = enumerate(path.read_text().splitlines(), 1)
    return [
        f"{path.relative_to(BASE_DIR)}:{number}: {line.strip()}" for number, line in lines if re.search(pattern, line)
    ]


def say(text: str) -> None:
    """One line of a check's output."""
    sys.stdout.write(f"{text}\n")


CHECKS: dict[str, Callable[[], list[str]]] = {"deploy": deploy, "hosts": hosts, "secrets": leaked, "audit": audit}


def main() -> None:
    """Run one check; exit 1 with what it found."""
    found = CHECKS[sys.argv[1]]()
    for line in found:
        say(line)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
