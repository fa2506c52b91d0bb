"""`/healthz`: this process answers. `/readyz`: it can do its work, too."""

import logging

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

log = logging.getLogger(__name__)
_migrated = False


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """Promises only that the process serves requests; it asks nobody else."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database answers and is migrated, else 503. A silent broker is a warning: sweeps find the work."""
    checks = {"database": _database(), "migrations": "unknown", "broker": _broker()}
    if checks["database"] == "ok":
        checks["migrations"] = _migrations()
    ready = checks["database"] == "ok" and checks["migrations"] == "ok"
    status = "ok" if checks["broker"] == "ok" else "degraded"
    answer = JsonResponse(
        {"status": status if ready else "unavailable", "checks": checks}, status=200 if ready else 503
    )
    if not ready:
        answer["Retry-After"] = "5"
    return answer


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        log.warning("The database does not answer", exc_info=True)
        return "unreachable"
    return "ok"


def _migrations() -> str:
    """Asked until the answer was good once: what is migrated stays so while this process lives."""
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connection)
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return "ok" if _migrated else "pending"


def _broker() -> str:
    """Reachable or not; a broker that is not Redis is asked through Celery's own connection."""
    url = settings.CELERY_BROKER_URL
    try:
        if url.startswith(("redis://", "rediss://")):
            with redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1) as client:
                client.ping()
        else:
            from config.celery import app

            with app.connection_for_write(connect_timeout=1) as broker:
                broker.ensure_connection(max_retries=1, timeout=2)
    except Exception:  # whatever transport it is, the answer is the same
        log.warning("The broker does not answer", exc_info=True)
        return "warning: unreachable"
    return "ok"
