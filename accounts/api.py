"""`/api/v1/account` and `/api/v1/keys` (03-http-api 3.5)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import api_keys
from accounts.authentication import signed_in_recently
from accounts.models import Account, ApiKey, KeyGroup
from config import clock
from config.api import AmountField, ApiView, Keyset, ListQuery, ListView, MomentField, UtcField, page_of

ROTATION_GRACE = timedelta(days=7)
MOST_MODELS = 200


# --- Account -------------------------------------------------------------------------------------------------------


class LevelOutput(serializers.Serializer[Any]):
    """What the account's top-ups have earned it."""

    number = serializers.IntegerField()
    name = serializers.CharField()
    discount = AmountField(4, help_text="A factor: 0.95 means that 95 % is paid.")
    rpm = serializers.IntegerField(help_text="Requests per minute.")


class AccountOutput(serializers.Serializer[Any]):
    """A billing account."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=Account.Kind.choices)
    status = serializers.ChoiceField(choices=Account.Status.choices)
    company_name = serializers.CharField()
    tax_id = serializers.CharField()
    benefit_level = LevelOutput(allow_null=True)
    created_at = UtcField()
    role = serializers.SerializerMethodField(help_text="What the caller is here.")

    def get_role(self, account: Account) -> str:
        """owner, admin, finance or developer."""
        return str(self.context["role"])


class AccountView(ApiView):
    """The account that the credential belongs to."""

    @extend_schema(operation_id="account", summary="Read the account", responses=AccountOutput, tags=["Account"])
    def get(self, request: Request) -> Response:
        """Every member may read it."""
        account = Account.objects.select_related("benefit_level").get(pk=self.account.pk)
        return Response(AccountOutput(account, context={"role": self.caller.role}).data)


# --- Keys ----------------------------------------------------------------------------------------------------------


class KeyQuery(ListQuery):
    """Which keys."""

    group = serializers.UUIDField(required=False)
    kind = serializers.ChoiceField(choices=ApiKey.Kind.choices, required=False)
    status = serializers.ChoiceField(choices=["active", "expired", "disabled"], required=False)


class KeyOutput(serializers.Serializer[Any]):
    """An API key, masked: the secret is shown once, when the key is made."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    masked = serializers.CharField(help_text="`sk-pg-v1-…9f3a`")
    kind = serializers.ChoiceField(choices=ApiKey.Kind.choices)
    status = serializers.SerializerMethodField()
    group = serializers.UUIDField(source="group_id", allow_null=True)
    allowed_models = serializers.ListField(
        child=serializers.CharField(), allow_null=True, help_text="null: all models."
    )
    created_at = UtcField()
    last_used_at = UtcField(allow_null=True)
    expires_at = UtcField(allow_null=True)
    disabled_at = UtcField(allow_null=True)
    rotated_from = serializers.UUIDField(source="rotated_from_id", allow_null=True)

    def get_status(self, key: ApiKey) -> str:
        """active, expired or disabled."""
        if key.disabled_at is not None:
            return "disabled"
        return "active" if api_keys.is_live(key, self.context["now"]) else "expired"


class NewKeyOutput(KeyOutput):
    """A new key with its secret, which is never shown again."""

    secret = serializers.SerializerMethodField()

    def get_secret(self, key: ApiKey) -> str:
        """The whole key."""
        return str(self.context["secret"])


class KeyChange(serializers.Serializer[Any]):
    """What of a key may be changed."""

    name = serializers.CharField(max_length=80)
    allowed_models = serializers.ListField(
        child=serializers.CharField(max_length=120), max_length=MOST_MODELS, allow_null=True, required=False,
        help_text="Slugs; null or empty: all models.",
    )  # fmt: skip


class KeyInput(KeyChange):
    """A key to be made."""

    kind = serializers.ChoiceField(choices=ApiKey.Kind.choices, default=ApiKey.Kind.PAYG)
    group = serializers.UUIDField(required=False, allow_null=True)
    expires_at = MomentField(required=False, allow_null=True)


class RotateInput(serializers.Serializer[Any]):
    """How long the old secret goes on working."""

    grace_seconds = serializers.IntegerField(
        min_value=0, max_value=int(ROTATION_GRACE.total_seconds()), default=0, help_text="0: it stops at once."
    )


class KeyView(ApiView):
    """What the endpoints about keys share."""

    def answer(self, key: ApiKey, now: datetime, *, secret: str = "", code: int = status.HTTP_200_OK) -> Response:
        """The key; with its secret when it is new."""
        context = {"now": now, "secret": secret}
        form = (NewKeyOutput if secret else KeyOutput)(key, context=context)
        return Response(form.data, status=code)

    def own(self, key_id: UUID) -> ApiKey:
        """A key of this account; another account's does not exist."""
        key = ApiKey.objects.filter(account=self.account, pk=key_id).first()
        if key is None:
            raise exceptions.NotFound
        return key

    def ask_again_who_it_is(self) -> None:
        """A browser left open must not make secrets: a portal session has signed in a short while ago (7.2)."""
        if self.caller.key is None and not signed_in_recently(self.request._request, self.caller.user):
            raise exceptions.PermissionDenied(_("Sign in again before you make a secret."))


_KEY_EXAMPLE = OpenApiExample(
    "A key", {"name": "production", "allowed_models": ["anthropic/claude-opus-4.6"]}, request_only=True
)


@extend_schema_view(
    get=extend_schema(
        operation_id="keys_list", summary="List API keys, newest first", parameters=[KeyQuery],
        responses=page_of(KeyOutput, "KeyPage"), tags=["Keys"],
    ),
    post=extend_schema(
        operation_id="keys_create", summary="Make an API key", request=KeyInput, responses={201: NewKeyOutput},
        examples=[_KEY_EXAMPLE], tags=["Keys"],
        description="The answer holds the secret, once. Needs a role that may make keys.",
    ),
)  # fmt: skip
class Keys(KeyView, ListView):
    """The account's API keys."""

    needs: ClassVar[dict[str, str]] = {"POST": "keys"}
    query_form, row_form = KeyQuery, KeyOutput
    keyset = Keyset(("id",), (UUID,))

    def rows(self, query: dict[str, Any]) -> QuerySet[ApiKey]:
        """All of them, also those that are disabled."""
        rows: QuerySet[ApiKey] = ApiKey.objects.filter(account=self.account)
        now = clock.now()
        over = Q(expires_at__lte=now)
        return rows.filter(
            *([Q(group_id=query["group"])] if "group" in query else []),
            *([Q(kind=query["kind"])] if "kind" in query else []),
            {
                "active": Q(disabled_at=None) & ~over,
                "expired": Q(disabled_at=None) & over,
                "disabled": Q(disabled_at__isnull=False),
            }.get(query.get("status", ""), Q()),
        )

    def post(self, request: Request) -> Response:
        """A new key."""
        told, now = self.body(KeyInput), clock.now()
        self.ask_again_who_it_is()
        group = told.pop("group", None)
        if group is not None:
            group = KeyGroup.objects.filter(account=self.account, pk=group).first()
            if group is None:
                raise serializers.ValidationError({"group": _("There is no such key group.")})
        if (told.get("expires_at") or now + timedelta(days=1)) <= now:
            raise serializers.ValidationError({"expires_at": _("This time is over.")})
        key, secret = api_keys.issue(
            self.account, group=group, now=now, actor=self.caller.user, actor_label=self.caller.label, **told
        )
        return self.answer(key, now, secret=secret, code=status.HTTP_201_CREATED)


class KeyDetail(KeyView):
    """One API key."""

    needs: ClassVar[dict[str, str]] = {"PATCH": "keys", "DELETE": "keys"}

    @extend_schema(operation_id="keys_read", summary="Read an API key", responses=KeyOutput, tags=["Keys"])
    def get(self, request: Request, key_id: UUID) -> Response:
        """Every member may see it, masked."""
        return self.answer(self.own(key_id), clock.now())

    @extend_schema(
        operation_id="keys_change", summary="Rename an API key, or change its models", request=KeyChange,
        responses=KeyOutput, tags=["Keys"],
    )  # fmt: skip
    def patch(self, request: Request, key_id: UUID) -> Response:
        """What is not sent stays."""
        key, now = self.own(key_id), clock.now()
        told = {"name": key.name, "allowed_models": key.allowed_models} | self.body(KeyChange, partial=True)
        changed = api_keys.rename(key.pk, now=now, actor=self.caller.user, actor_label=self.caller.label, **told)
        return self.answer(changed, now)

    @extend_schema(
        operation_id="keys_disable", summary="Disable an API key for good", request=None, responses={204: None},
        tags=["Keys"],
    )  # fmt: skip
    def delete(self, request: Request, key_id: UUID) -> Response:
        """The row stays, because calls were made with it; repeats change nothing."""
        api_keys.disable(self.own(key_id).pk, now=clock.now(), actor=self.caller.user, actor_label=self.caller.label)
        return Response(status=status.HTTP_204_NO_CONTENT)


class KeyRotate(KeyView):
    """A successor for a key."""

    needs: ClassVar[dict[str, str]] = {"POST": "keys"}

    @extend_schema(
        operation_id="keys_rotate", summary="Replace an API key's secret", request=RotateInput,
        responses={201: NewKeyOutput}, tags=["Keys"],
        description="Makes a key with the same name, kind, group and models; the old one stops after `grace_seconds`.",
    )  # fmt: skip
    def post(self, request: Request, key_id: UUID) -> Response:
        """The new key with its secret, once."""
        key, told, now = self.own(key_id), self.body(RotateInput), clock.now()
        self.ask_again_who_it_is()
        if not api_keys.is_live(key, now):
            raise exceptions.ValidationError({"key": _("This key has stopped; make a new one.")})
        new, secret = api_keys.rotate(
            key.pk, now=now, actor=self.caller.user, actor_label=self.caller.label,
            grace=timedelta(seconds=told["grace_seconds"]),
        )  # fmt: skip
        return self.answer(new, now, secret=secret, code=status.HTTP_201_CREATED)
