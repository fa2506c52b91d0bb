"""The published plans (F066-F068), planted where there are none. What staff published since stays as it is."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from billing import seeds as billing_seeds
from subscriptions.models import Plan, PlanVersion

# In force from before the first call that a platform may have to count, as the Flow rate is.
SINCE = datetime(2020, 1, 1, tzinfo=UTC)


@cache
def published() -> dict[str, Any]:
    """The plan table and the models of each plan."""
    path = Path(billing_seeds.__file__).parent / "data" / "plans_and_models.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def plant(**_: Any) -> None:
    """Create what is missing. Runs after every migrate."""
    if PlanVersion.objects.exists():
        return
    table = published()
    Plan.objects.bulk_create(
        [Plan(code=plan["code"], name=plan["name"], rank=rank) for rank, plan in enumerate(table["plans"])],
        ignore_conflicts=True,
    )
    PlanVersion.objects.bulk_create(
        PlanVersion(
            plan_id=plan["code"],
            number=1,
            price_usd=Decimal(plan["price_usd_month"]),
            flows_5h=Decimal(plan["flows_5h"]),
            flows_week=Decimal(plan["flows_week"]),
            flows_period=Decimal(plan["flows_month"]),
            rpm=plan["rpm"],
            model_slugs=sorted(
                m["slug"] for m in table["models"] if plan["code"] in m["plans"] and not m["coming_soon"]
            ),
            effective_from=SINCE,
            created_at=SINCE,
        )
        for plan in table["plans"]
    )
