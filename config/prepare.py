"""Bring the database up to date and load the demo: `python -m config.prepare`, before the processes start.

Prints the demo's logins as JSON; everything for people to read goes to stderr. Repeats change nothing.
"""

import importlib
import json
import os
import sys

import django

from config import embedded


def main() -> None:
    """Migrate; in development also load the demo."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django.conf import settings
    from django.core.management import call_command, get_commands
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", interactive=False, verbosity=1, stdout=sys.stderr)
    logins: list[dict[str, str]] = []
    if settings.DEBUG and "load_demo" in get_commands():
        call_command("load_demo", stdout=sys.stderr)
        logins = importlib.import_module("accounts.demo").logins()
    embedded.hang_up()
    json.dump(logins, sys.stdout)


if __name__ == "__main__":
    main()
