"""The people of the demo installation. Development only; `load_demo` makes them."""

DEMO_PASSWORD = "meterhall-demo"  # noqa: S105  # printed by `make run`; the demo refuses to load with DEBUG off
DEMO_LOGINS = [
    ("customer", "demo@example.com"),
    ("support", "support@example.com"),
    ("finance", "finance@example.com"),
    ("admin", "admin@example.com"),
]


def logins() -> list[dict[str, str]]:
    """Role, address and password of each, for those who print them."""
    return [{"role": role, "email": email, "password": DEMO_PASSWORD} for role, email in DEMO_LOGINS]
