"""`/api/v1/conversations/{conversation}/billing-mode` (F084): for programs, the portal, and a first-party app's gateway
token, which names the account."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import (
    Caller,
    GatewayTokenAuthentication,
    ManagementKeyAuthentication,
    PortalSessionAuthentication,
)
from accounts.models import Account
from billing.errors import InvalidRequest, NotFound
from config import clock
from config.api import ApiView, UtcField
from subscriptions import conversations
from subscriptions.models import Conversation


class ModeInput(serializers.Serializer[Any]):
    """What pays from the next call on."""

    billing_mode = serializers.ChoiceField(choices=Conversation.Mode.choices)
    account = serializers.UUIDField(
        required=False, help_text="Whose conversation it is: for gateway tokens, which belong to no account."
    )


class ModeQuery(serializers.Serializer[Any]):
    """Whose conversation."""

    account = serializers.UUIDField(required=False, help_text="For gateway tokens.")


class ModeOutput(serializers.Serializer[Any]):
    """What pays for a conversation."""

    account = serializers.UUIDField()
    conversation = serializers.CharField()
    billing_mode = serializers.ChoiceField(choices=Conversation.Mode.choices)
    chosen = serializers.BooleanField(help_text="False: nobody chose, and the default applies.")
    updated_at = UtcField(allow_null=True)


_HOW = (
    "Each conversation has its own mode; all share the account's Flows. `subscription` spends Flows, `payg` the "
    "balance. A conversation that nobody chose for is `subscription`: no money is spent before somebody said so. "
    "Names are the app's own, unique within the account, up to 200 characters. A gateway token names the `account`."
)


class ConversationMode(ApiView):
    """The billing mode of one conversation."""

    authentication_classes = (
        GatewayTokenAuthentication,
        ManagementKeyAuthentication,
        PortalSessionAuthentication,
    )
    needs: ClassVar[dict[str, Any]] = {"PUT": None}  # whoever may chat may switch

    @extend_schema(
        operation_id="conversation_mode_read",
        summary="Read a conversation's billing mode",
        description=_HOW,
        parameters=[ModeQuery],
        responses=ModeOutput,
        tags=["Subscription"],
    )
    def get(self, request: Request, conversation: str) -> Response:
        """Also of a conversation that was never heard of: it has the default."""
        name = conversations.checked_name(conversation)
        account_id = self._whose(self.query(ModeQuery).get("account"))
        return self._answer(account_id, name, conversations.chosen(account_id, name))

    @extend_schema(
        operation_id="conversation_mode_set",
        summary="Switch a conversation's billing mode",
        description=f"{_HOW} The next call follows it; running calls stay as they were admitted.",
        request=ModeInput,
        responses=ModeOutput,
        examples=[OpenApiExample("Pay from the balance", {"billing_mode": "payg"}, request_only=True)],
        tags=["Subscription"],
    )
    def put(self, request: Request, conversation: str) -> Response:
        """At any time; the same again changes nothing but the time."""
        name, body = conversations.checked_name(conversation), self.body(ModeInput)
        account_id = self._whose(body.get("account"))
        row = conversations.set_mode(account_id, name, body["billing_mode"], now=clock.now())
        return self._answer(account_id, name, row)

    def _whose(self, named: UUID | None) -> UUID:
        """The caller's own account; a gateway names it. Another account than one's own does not exist."""
        if isinstance(self.request.user, Caller):
            if named is not None and named != self.account.pk:
                raise NotFound
            return self.account.pk
        if named is None:
            raise InvalidRequest(_("A gateway says whose conversation it is."), field="account")
        if not Account.objects.filter(pk=named).exists():
            raise exceptions.NotFound
        return named

    def _answer(self, account_id: UUID, name: str, row: Conversation | None) -> Response:
        return Response(
            ModeOutput(
                {
                    "account": account_id,
                    "conversation": name,
                    "billing_mode": row.billing_mode if row else conversations.DEFAULT,
                    "chosen": row is not None,
                    "updated_at": row.updated_at if row else None,
                }
            ).data
        )
