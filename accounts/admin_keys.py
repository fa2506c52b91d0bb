"""Desks of keys: customers', management's, gateways'. Secrets are shown once, when they are made."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import Any

from allauth.account.decorators import reauthentication_required
from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import api_keys
from accounts.admin_parts import audit_panel, mask, person, standing_of
from accounts.models import ApiKey, GatewayToken, KeyGroup, ManagementKey
from config import clock
from config.admin_base import ReadOnlyAdmin, ReasonForm, staff_action
from config.admin_cells import Panel, at, column, link, listed, masked, state, to
from config.admin_finding import Since
from config.templatetags import ui


@admin.register(KeyGroup)
class KeyGroupAdmin(ReadOnlyAdmin):
    """Keys that are counted together."""

    related = ("account",)
    list_display = (
        "name",
        to("account", _("account")),
        column(_("models"), lambda group: listed(group.allowed_models) if group.allowed_models else _("all")),
        at("created_at", _("created"), "date"),
    )
    ordering = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "account_id"))
    search_help_text = _("Group's or account's UUID")

    def panels(self, request: HttpRequest, obj: KeyGroup) -> list[Panel]:
        """The keys of the group."""
        rows: list[tuple[Any, ...]] = [
            (link(key, key.name), masked(key), standing_of(key), ui.when(key.last_used_at))
            for key in obj.keys.order_by("-created_at")[:50]
        ]
        return [Panel(_("API keys"), (_("name"), _("API key"), _("state"), _("last used")), rows)]


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Customers' keys, masked; nobody can see one again."""

    related = ("account", "group", "created_by")
    ids_by_time = True
    list_display = (
        "name",
        mask,
        to("account", _("account")),
        state("kind", _("kind")),
        column(_("state"), standing_of, name="state"),
        at("last_used_at", _("last used"), "short"),
        at("created_at", _("created"), "date"),
    )
    list_filter = (Since, "kind", ("disabled_at", admin.EmptyFieldListFilter))
    ordering = ("-pk",)
    account_order = ("-created_at", "pk")
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("email", "account__memberships__user__email"))
    search_help_text = _("Key's or account's UUID, member's e-mail address")
    facts = (
        (_("Key"), ("id", "name", mask, "kind", standing_of, "account", "group", "allowed_models")),
        (_("Life"), ("created_at", "created_by", "last_used_at", "expires_at", "disabled_at", "rotated_from")),
    )
    actions_detail = ("disable",)

    def panels(self, request: HttpRequest, obj: ApiKey) -> list[Panel]:
        """What was done to the key."""
        return audit_panel(request, obj)

    @staff_action(
        permission="accounts.disable_apikey",
        title=_("Disable"),
        button=_("Disable the key"),
        sentence=_(
            "The key stops for good, at once. The customer can make another; calls under way are still charged."
        ),
        icon="key_off",
        danger=True,
        applies=lambda key: key.disabled_at is None,
    )
    def disable(self, request: HttpRequest, obj: ApiKey, data: dict[str, Any]) -> str:
        """Stop the key."""
        api_keys.disable(obj.pk, now=clock.now(), actor=person(request), reason=data["reason"])
        return gettext("%(key)s is disabled.") % {"key": obj.masked}


@admin.register(ManagementKey)
class ManagementKeyAdmin(ReadOnlyAdmin):
    """Keys for customers' own programs."""

    related = ("account", "created_by")
    list_display = (
        "name",
        mask,
        to("account", _("account")),
        state("role", _("role")),
        column(_("state"), standing_of, name="state"),
        at("last_used_at", _("last used"), "short"),
        at("created_at", _("created"), "date"),
    )
    ordering = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "account_id"))
    search_help_text = _("Key's or account's UUID")
    facts = (
        (_("Key"), ("id", "name", mask, "role", standing_of, "account")),
        (_("Life"), ("created_at", "created_by", "last_used_at", "expires_at", "disabled_at")),
    )

    def panels(self, request: HttpRequest, obj: ManagementKey) -> list[Panel]:
        """What was done to the key."""
        return audit_panel(request, obj)


class TokenForm(ReasonForm):
    """A gateway token's terms."""

    name = forms.CharField(label=_("Name"), max_length=80, help_text=_("Which gateway it is for."))
    allowed_ips = forms.CharField(
        label=_("Allowed addresses"),
        required=False,
        help_text=_("Addresses or networks, separated by commas. Empty: from anywhere."),
    )

    def clean_allowed_ips(self) -> list[str]:
        """Each entry an address or a network."""
        entries = [entry.strip() for entry in self.cleaned_data["allowed_ips"].split(",") if entry.strip()]
        for entry in entries:
            try:
                ipaddress.ip_network(entry, strict=False)
            except ValueError:
                raise ValidationError(_("%(entry)s is no address."), params={"entry": entry}) from None
        return entries


@admin.register(GatewayToken)
class GatewayTokenAdmin(ReadOnlyAdmin):
    """What gateways sign in with."""

    list_display = (
        "name",
        column(_("token"), masked, name="token"),
        column(_("state"), standing_of, name="state"),
        column(_("allowed addresses"), lambda token: listed(token.allowed_ips) if token.allowed_ips else _("all")),
        at("last_used_at", _("last used")),
        at("created_at", _("created"), "date"),
    )
    ordering = ("-pk",)
    facts = (
        (_("Token"), ("id", "name", column(_("token"), masked), standing_of, "allowed_ips")),
        (_("Life"), ("created_at", "last_used_at", "expires_at", "disabled_at")),
    )
    actions_list = ("issue",)
    actions_detail = ("revoke",)

    def panels(self, request: HttpRequest, obj: GatewayToken) -> list[Panel]:
        """What was done to the token."""
        return audit_panel(request, obj)

    @staff_action(
        permission="accounts.issue_gatewaytoken",
        title=_("Issue a gateway token"),
        button=_("Issue the token"),
        sentence=_(
            "Whoever holds the token may authorise, capture and void calls of every account. Its secret is shown once."
        ),
        form=TokenForm,
        icon="add",
        guard=reauthentication_required,
    )
    def issue(self, request: HttpRequest, obj: None, data: dict[str, Any]) -> Any:
        """Make a token and show its secret, once: sending the same form again makes no other."""
        if GatewayToken.objects.filter(name=data["name"], created_at__gt=clock.now() - timedelta(minutes=1)).exists():
            raise ValidationError(_("A token of this name was issued a moment ago. Its secret was shown then."))
        token, secret = api_keys.issue_gateway_token(
            data["name"],
            now=clock.now(),
            actor=person(request),
            allowed_ips=data["allowed_ips"],
            reason=data["reason"],
        )
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Token %(name)s") % {"name": token.name},
            "opts": self.opts,
            "secret": secret,
            "back": reverse("admin:accounts_gatewaytoken_change", args=[token.pk]),
        }
        return TemplateResponse(request, "admin/secret_once.html", context, headers={"Cache-Control": "no-store"})

    @staff_action(
        permission="accounts.revoke_gatewaytoken",
        title=_("Revoke"),
        button=_("Revoke the token"),
        sentence=_("Within seconds every call that a gateway reports with this token is refused. This is for good."),
        icon="cancel",
        danger=True,
        applies=lambda token: token.disabled_at is None,
    )
    def revoke(self, request: HttpRequest, obj: GatewayToken, data: dict[str, Any]) -> str:
        """Stop the token."""
        api_keys.revoke_gateway_token(obj.pk, now=clock.now(), actor=person(request), reason=data["reason"])
        return gettext("%(token)s is revoked.") % {"token": obj.masked}
