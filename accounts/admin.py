"""Desks of customers, their keys, the gateways, staff roles and the audit."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

from allauth.account.decorators import reauthentication_required
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import Count
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import api_keys, levels, standing
from accounts.models import (
    Account,
    ApiKey,
    AuditRecord,
    BenefitLevel,
    Credential,
    GatewayToken,
    KeyGroup,
    ManagementKey,
    Membership,
    User,
)
from config import clock
from config.admin_base import ReadOnlyAdmin, ReasonForm, staff_action
from config.admin_cells import Panel, at, code, column, count, link, list_url, listed, masked, state, to
from config.admin_finding import Since
from config.templatetags import ui

# Second factors are secrets and sessions are private: neither has a desk.
for model in (Group, EmailAddress, Authenticator, UserSession):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


def ident(row: Any) -> str:
    """The row's id, in full."""
    return code(row.pk)


ident.short_description = _("ID")  # type: ignore[attr-defined]


def standing_of(row: Credential) -> str:
    """Whether a key or token works."""
    if row.disabled_at is not None:
        return ui.status_badge("disabled", gettext("Disabled"))
    if row.expires_at is not None and row.expires_at <= clock.now():
        return ui.status_badge("expired", gettext("Expired"))
    return ui.status_badge("active", gettext("Active"))


standing_of.short_description = _("state")  # type: ignore[attr-defined]
mask = column(_("key"), masked, name="key")


def audit_panel(request: HttpRequest, row: Any) -> list[Panel]:
    """What staff and members did to this row, newest first; for those who may read the audit."""
    if not request.user.has_perm("accounts.view_auditrecord"):
        return []
    name, ident = row._meta.model_name, str(row.pk)
    records = AuditRecord.objects.filter(subject_type=name, subject_id=ident).order_by("-at")[:10]
    rows: list[tuple[Any, ...]] = [(ui.when(one.at), one.action, one.actor_label, one.reason) for one in records]
    return [
        Panel(
            _("Audit"),
            (_("time"), _("action"), _("actor"), _("reason")),
            rows,
            empty=_("Nobody has changed it."),
            more=list_url(AuditRecord, subject_type=name, subject_id=ident) if rows else "",
        )
    ]


# --- Customers ----------------------------------------------------------------------------------------------------
@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    """The customer's page; apps to the right add their tables and actions to it."""

    panel_makers: ClassVar[list[Callable[[HttpRequest, Account], list[Panel]]]] = []

    related = ("benefit_level",)
    list_display = (
        "name",
        column(_("account ID"), ident, name="id"),
        state("kind", _("kind")),
        state("status", _("status")),
        to("benefit_level", _("benefit level")),
        at("created_at", _("created"), "date"),
    )
    list_filter = ("status", "kind", "benefit_level")
    ordering = ("-created_at", "pk")
    finds = (("uuid", "pk"), ("email", "memberships__user__email"), ("text", "name"))
    search_help_text = _("Account UUID, member's e-mail address or exact name")
    facts = (
        (_("Account"), ("id", "name", "kind", "status", "created_at")),
        (_("Terms"), ("benefit_level", "company_name", "tax_id")),
    )
    actions_detail = ("suspend", "reactivate")

    def panels(self, request: HttpRequest, obj: Account) -> list[Panel]:
        """Money and calls first, then people and keys."""
        found = [panel for make in self.panel_makers for panel in make(request, obj)]
        members = obj.memberships.select_related("user").order_by("created_at")[:20]
        keys = obj.api_keys.order_by("-created_at")[:10]
        return [
            *found,
            Panel(
                _("Members"),
                (_("user"), _("e-mail address"), _("role"), _("since")),
                [
                    (link(one.user), one.user.email, one.get_role_display(), ui.when(one.created_at, "date"))
                    for one in members
                ],
            ),
            Panel(
                _("API keys"),
                (_("name"), _("key"), _("kind"), _("state"), _("last used")),
                [
                    (
                        link(key, key.name),
                        masked(key),
                        key.get_kind_display(),
                        standing_of(key),
                        ui.when(key.last_used_at),
                    )
                    for key in keys
                ],
                more=list_url(ApiKey, account__id__exact=obj.pk),
            ),
            *audit_panel(request, obj),
        ]

    @staff_action(
        permission="accounts.suspend_account",
        title=_("Suspend"),
        button=_("Suspend the account"),
        sentence=_(
            "Every new call of this account is refused with account_suspended, at once. Calls under way are still "
            "charged; balance, keys and pages stay as they are."
        ),
        icon="block",
        danger=True,
        applies=lambda account: account.status == Account.Status.ACTIVE,
    )
    def suspend(self, request: HttpRequest, obj: Account, data: dict[str, Any]) -> str:
        """Refuse the account's calls."""
        standing.suspend(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("%(account)s is suspended.") % {"account": obj}

    @staff_action(
        permission="accounts.suspend_account",
        title=_("Reactivate"),
        button=_("Reactivate the account"),
        sentence=_("Calls of this account are admitted again, within its balance and limits."),
        icon="check_circle",
        applies=lambda account: account.status == Account.Status.SUSPENDED,
    )
    def reactivate(self, request: HttpRequest, obj: Account, data: dict[str, Any]) -> str:
        """Admit the account's calls again."""
        standing.reactivate(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("%(account)s is active again.") % {"account": obj}


def person(request: HttpRequest) -> User:
    """The person at the desk; the site lets nobody else in."""
    if not isinstance(request.user, User):
        raise TypeError("an action without a person")
    return request.user


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    """People, by the number that the back office knows them by (F002)."""

    list_display = (
        "email",
        "nickname",
        column(_("number"), lambda user: user.pk, number=True, name="pk"),
        column(_("staff"), lambda user: ui.status_badge("staff", gettext("Staff"), "azure") if user.is_staff else ""),
        column(_("active"), lambda user: ui.status_badge("active" if user.is_active else "disabled", gettext("Active") if user.is_active else gettext("Disabled"))),
        at("last_login", _("last login")),
        at("date_joined", _("joined"), "date"),
    )  # fmt: skip
    list_filter = ("is_staff", "is_active")
    ordering = ("-pk",)
    finds = (("email", "email"), ("uuid", "uuid"), ("number", "pk"))
    search_help_text = _("E-mail address, UUID or user number")
    facts = (
        (_("User"), ("id", "uuid", "email", "nickname", "date_joined", "last_login")),
        (_("Settings"), ("locale", "time_zone", "is_active", "is_staff", "is_superuser")),
    )

    def panels(self, request: HttpRequest, obj: User) -> list[Panel]:
        """Accounts, addresses, and for staff their roles."""
        memberships = obj.memberships.select_related("account").order_by("created_at")[:50]
        kinds = Authenticator.objects.filter(user=obj).values_list("type", "last_used_at")
        addresses = EmailAddress.objects.filter(user=obj).order_by("-primary", "email")
        found = [
            Panel(
                _("Accounts"),
                (_("account"), _("account ID"), _("role"), _("since")),
                [
                    (link(one.account), code(one.account_id), one.get_role_display(), ui.when(one.created_at, "date"))
                    for one in memberships
                ],
            ),
            Panel(
                _("E-mail addresses"),
                (_("address"), _("verified"), _("primary")),
                [(one.email, _yes(one.verified), _yes(one.primary)) for one in addresses],
            ),
            Panel(
                _("Second factors"),
                (_("kind"), _("last used")),
                [(kind, ui.when(used)) for kind, used in kinds],
                empty=_("None is set up."),
            ),
        ]
        if obj.is_staff:
            rows: list[tuple[Any, ...]] = [(link(group),) for group in obj.groups.order_by("name")]
            found.append(Panel(_("Roles"), (_("role"),), rows, empty=_("No role: the console is empty for them.")))
        return [*found, *audit_panel(request, obj)]


def _yes(value: bool) -> str:
    return gettext("yes") if value else gettext("no")


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    """Who belongs to which account."""

    related = ("user", "account")
    list_display = (
        column(_("user"), lambda one: one.user.email, name="user"),
        to("account", _("account")),
        state("role", _("role")),
        at("created_at", _("since"), "date"),
    )
    list_filter = ("role",)
    ordering = ("-pk",)
    finds = (("email", "user__email"), ("uuid", "account_id"))
    search_help_text = _("Member's e-mail address or account UUID")


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
        return [Panel(_("API keys"), (_("name"), _("key"), _("state"), _("last used")), rows)]


# --- Keys ---------------------------------------------------------------------------------------------------------
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


# --- Levels -------------------------------------------------------------------------------------------------------
class LevelForm(ReasonForm):
    """What a level gives."""

    discount = forms.DecimalField(
        label=_("Discount factor"), max_digits=6, decimal_places=4, help_text=_("0.95 means 95 % is paid (C20).")
    )
    rpm = forms.IntegerField(label=_("Requests per minute"), min_value=1, max_value=2_000_000_000)
    tpm = forms.IntegerField(label=_("Tokens per minute"), min_value=1, max_value=10**15)

    def __init__(self, *arguments: Any, obj: BenefitLevel, **options: Any) -> None:
        initial = {"discount": obj.discount, "rpm": obj.rpm, "tpm": obj.tpm}
        super().__init__(*arguments, obj=obj, initial=initial, **options)


@admin.register(BenefitLevel)
class BenefitLevelAdmin(ReadOnlyAdmin):
    """What topping up earns (F018)."""

    list_display = (
        "name",
        count("number", _("level")),
        column(_("from top-ups of"), lambda level: ui.usd(level.threshold_usd), number=True, name="threshold"),
        column(_("discount factor"), lambda level: ui.number(level.discount), number=True, name="discount"),
        count("rpm", _("requests per minute")),
        count("tpm", _("tokens per minute")),
        column(_("accounts"), lambda level: ui.count(level.accounts), number=True, name="accounts"),
    )
    ordering = ("threshold_usd",)
    actions_detail = ("change_terms",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """With the number of accounts on each."""
        return super().get_queryset(request).annotate(accounts=Count("account"))

    def panels(self, request: HttpRequest, obj: BenefitLevel) -> list[Panel]:
        """What was changed of the level."""
        return audit_panel(request, obj)

    @staff_action(
        permission="accounts.change_terms_benefitlevel",
        title=_("Change terms"),
        button=_("Change the level"),
        sentence=_(
            "Holds for every account on the level, from its next call on. Calls already authorised keep theirs."
        ),
        form=LevelForm,
        icon="edit",
    )
    def change_terms(self, request: HttpRequest, obj: BenefitLevel, data: dict[str, Any]) -> str:
        """Another discount and other rates."""
        changed = levels.change(
            obj.pk,
            discount=data["discount"],
            rpm=data["rpm"],
            tpm=data["tpm"],
            actor=person(request),
            reason=data["reason"],
            now=clock.now(),
        )
        return gettext("%(level)s now pays × %(factor)s.") % {"level": changed, "factor": ui.number(changed.discount)}


# --- Staff and audit ----------------------------------------------------------------------------------------------
@admin.register(Group)
class RoleAdmin(ReadOnlyAdmin):
    """Staff roles; the table is in `accounts/roles.py`."""

    list_display = ("name", column(_("people"), lambda group: ui.count(group.people), number=True, name="people"))
    ordering = ("name",)
    facts = ((None, ("name",)),)

    def get_queryset(self, request: HttpRequest) -> Any:
        """With the number of people in each."""
        return super().get_queryset(request).annotate(people=Count("user"))

    def panels(self, request: HttpRequest, obj: Group) -> list[Panel]:
        """Who has the role, and what it may do beyond reading."""
        people = obj.user_set.order_by("email")[:100]
        may = obj.permissions.exclude(codename__startswith="view_").order_by("codename")
        return [
            Panel(_("May, beyond reading"), (), [(gettext(one.name),) for one in may], empty=_("Nothing.")),
            Panel(_("People"), (_("user"), _("e-mail address")), [(link(one), one.email) for one in people]),
        ]


@admin.register(EmailAddress)
class EmailAddressAdmin(ReadOnlyAdmin):
    """Addresses and whether they were verified."""

    related = ("user",)
    list_display = (
        "email",
        to("user", _("user")),
        column(_("verified"), lambda one: _yes(one.verified), name="verified"),
        column(_("primary"), lambda one: _yes(one.primary), name="primary"),
    )
    list_filter = ("verified", "primary")
    ordering = ("-pk",)
    finds = (("email", "email"), ("number", "user_id"))
    search_help_text = _("E-mail address or user number")


@admin.register(AuditRecord)
class AuditRecordAdmin(ReadOnlyAdmin):
    """Who changed what, when and why (I12). Append-only by trigger."""

    related = ("actor", "account")
    moment = "at"
    list_display = (
        at("at", _("time")),
        "action",
        column(_("actor"), lambda one: one.actor_label, name="actor"),
        column(_("subject"), lambda one: f"{one.subject_type} …{one.subject_id[-8:]}", name="subject"),
        to("account", _("account")),
        column(_("reason"), lambda one: one.reason[:80], name="reason"),
    )
    list_filter = (Since, ("actor", admin.EmptyFieldListFilter))
    ordering = ("-at", "-pk")
    account_order = ("-at",)
    finds = (("uuid", "account_id"), ("uuid", "pk"), ("email", "actor__email"))
    search_help_text = _("Account UUID, record's UUID or staff e-mail address")
    facts = (
        (_("Change"), ("at", "action", "actor_label", "actor", "reason")),
        (_("Subject"), ("subject_type", "subject_id", "account")),
        (_("Values"), ("before", "after")),
    )
