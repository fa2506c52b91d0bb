"""What the header of every signed-in page shows beside the account: its money, with the time it was true (F012)."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.access import current_account
from billing.books.summary import Summary, summary
from config import clock


def wallet(request: HttpRequest) -> dict[str, Any]:
    """`wallet`: balance, available, held, overdraft and as_of of the account in force, read only where shown."""

    def look() -> Summary | None:
        account = current_account(request)
        return summary(account.pk, now=clock.now()) if account else None

    return {"wallet": SimpleLazyObject(look)}
