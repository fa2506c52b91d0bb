"""`/api/v1/balance` and `/api/v1/transactions` (03-http-api 3.5)."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.books.models import CreditGrant, JournalEntry
from billing.books.summary import summary
from config import clock
from config.api import AmountField, ApiView, CsvQuery, Keyset, ListQuery, ListView, PeriodQuery, UtcField, page_of

MOST_GRANTS = 500


class GrantOutput(serializers.Serializer[Any]):
    """Credit that is left, with its terms."""

    id = serializers.UUIDField(source="pk")
    kind = serializers.ChoiceField(choices=CreditGrant.Kind.choices)
    paid = serializers.BooleanField(help_text="Promotional credit is spent before credit that was paid for.")
    amount = AmountField()
    remaining = AmountField()
    expires_at = UtcField(allow_null=True)
    created_at = UtcField()


class BalanceOutput(serializers.Serializer[Any]):
    """What the account has. USD; `balance` = `cash` + `credits` - `overdraft`."""

    account = serializers.UUIDField()
    currency = serializers.CharField(default="USD")
    balance = AmountField()
    cash = AmountField()
    credits = AmountField()
    held = AmountField(help_text="Reserved for calls that are under way.")
    overdraft = AmountField(help_text="What calls cost beyond the credit; new credit pays it first.")
    credit_limit = AmountField()
    available = AmountField(help_text="`balance` - `held` + `credit_limit`: what a new call may hold.")
    grants = GrantOutput(many=True, help_text="In the order in which they are spent.")
    as_of = UtcField()


class BalanceView(ApiView):
    """The account's money."""

    @extend_schema(operation_id="balance", summary="Read the balance", responses=BalanceOutput, tags=["Money"])
    def get(self, request: Request) -> Response:
        """Credit that has expired does not count, whether written off yet or not."""
        now = clock.now()
        found = summary(self.account.pk, now=now)
        grants = CreditGrant.objects.filter(account=self.account, remaining__gt=0).burn_order()[:MOST_GRANTS]
        live = [grant for grant in grants if grant.expires_at is None or grant.expires_at > now]
        told = {name: getattr(found, name) for name in type(found).__slots__}
        return Response(BalanceOutput(told | {"account": self.account.pk, "currency": "USD", "grants": live}).data)


class TransactionQuery(ListQuery, PeriodQuery, CsvQuery):
    """Which entries."""

    kind = serializers.ChoiceField(choices=JournalEntry.Kind.choices, required=False)


class TransactionOutput(serializers.Serializer[Any]):
    """One change of the balance."""

    id = serializers.UUIDField()
    seq = serializers.IntegerField(help_text="Counts the account's entries up without a gap.")
    at = UtcField()
    kind = serializers.ChoiceField(choices=JournalEntry.Kind.choices)
    delta = AmountField(help_text="USD, signed.")
    balance_after = AmountField()
    order = serializers.SerializerMethodField(help_text="The top-up order behind it.")
    calls = serializers.SerializerMethodField(help_text="How many calls this entry charges.")

    def get_order(self, entry: JournalEntry) -> str | None:
        """Only where there is one."""
        found: str | None = entry.meta.get("order")
        return found

    def get_calls(self, entry: JournalEntry) -> int | None:
        """Only for usage."""
        found: int | None = entry.meta.get("calls")
        return found


@extend_schema_view(
    get=extend_schema(
        operation_id="transactions_list", summary="List what changed the balance, newest first",
        parameters=[TransactionQuery], tags=["Money"],
        responses={
            (200, "application/json"): page_of(TransactionOutput, "TransactionPage"),
            (200, "text/csv"): OpenApiTypes.STR,
        },
    )
)  # fmt: skip
class Transactions(ListView):
    """The journal as the customer sees it."""

    query_form, row_form = TransactionQuery, TransactionOutput
    keyset = Keyset(("seq",), (int,))
    table = "transactions"
    columns = ("seq", "at", "kind", "delta", "balance_after", "order", "calls", "id")

    def rows(self, query: dict[str, Any]) -> QuerySet[JournalEntry]:
        """By time and kind; never counted."""
        rows: QuerySet[JournalEntry] = JournalEntry.objects.filter(account=self.account)
        wanted = {"at__gte": query.get("from"), "at__lt": query.get("to"), "kind": query.get("kind")}
        return rows.filter(**{name: value for name, value in wanted.items() if value is not None})
