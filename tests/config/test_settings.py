"""Settings that must not start: each in a process of its own."""

import os
import subprocess
import sys

import pytest

PRODUCTION = {
    "DEBUG": "false",
    "SECRET_KEY": "s" * 50,
    "KEY_HASH_SECRET": "h" * 50,
    "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "ALLOWED_HOSTS": "meter.example",
    "PUBLIC_URL": "https://meter.example",
}


def load(**more):
    """Load the settings with these in the environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", "from django.conf import settings; print(settings.DEBUG)"],
        env={**kept, "DJANGO_SETTINGS_MODULE": "config.settings", **PRODUCTION, **more},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_production_settings_load():
    found = load()
    assert (found.returncode, found.stdout) == (0, "False\n"), found.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLOCK_OFFSET", "+25h"),
        ("BALANCE_DENIAL_STATUS", "200"),
        ("SECRET_KEY", ""),
        ("KEY_HASH_SECRET", ""),
        ("DATABASE_URL", ""),
    ],
)
def test_a_setting_that_must_not_be_refuses_to_start_and_is_named(name, value):
    found = load(**{name: value})
    assert found.returncode != 0
    assert "ImproperlyConfigured" in found.stderr
    assert name in found.stderr
