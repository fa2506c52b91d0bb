"""Addresses of the services that the suite runs on, for other processes."""

from urllib.parse import quote, urlencode

from django.db import connection


def database_url() -> str:
    """This process's test database as a URL; a unix socket's folder stands in the query."""
    found = connection.settings_dict
    user = quote(found["USER"]) + (f":{quote(found['PASSWORD'])}" if found["PASSWORD"] else "")
    where = {name: found[name.upper()] for name in ("host", "port") if found[name.upper()]}
    return f"postgresql://{user}@/{quote(found['NAME'])}?{urlencode(where)}"
