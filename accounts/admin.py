"""Desks of customers: accounts, users, memberships. Keys, levels, roles and the audit have files beside this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import admin_keys, admin_staff, standing
from accounts.admin_parts import audit_panel, ident, person, standing_of
from accounts.models import Account, ApiKey, Membership, User
from config import clock
from config.admin_base import ReadOnlyAdmin, staff_action
from config.admin_cells import Panel, at, code, column, link, list_url, masked, state, to, yes
from config.templatetags import ui

__all__ = ["AccountAdmin", "MembershipAdmin", "UserAdmin", "admin_keys", "admin_staff"]


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    """The customer's page; apps to the right add their tables and actions to it."""

    panel_makers: ClassVar[list[Callable[[HttpRequest, Account], list[Panel]]]] = []
    places: ClassVar[dict[Any, int]] = {}
    """Where each of them stands: where the money is comes first, what it was spent on after that."""

    related: ClassVar[tuple[str, ...]] = ("benefit_level",)
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
    actions_detail: ClassVar[tuple[str, ...]] = ("suspend", "reactivate")

    @classmethod
    def add_panels(cls, make: Callable[[HttpRequest, Account], list[Panel]], *, place: int) -> None:
        """Hang tables on the customer's page, the lowest place first."""
        cls.places[make] = place
        cls.panel_makers.append(make)
        cls.panel_makers.sort(key=cls.places.__getitem__)

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
                (_("name"), _("API key"), _("kind"), _("state"), _("last used")),
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


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    """People, by the number that the back office knows them by (F002)."""

    list_display = (
        "email",
        "nickname",
        column(_("number"), lambda user: user.pk, number=True, name="pk"),
        column(_("staff"), lambda user: ui.status_badge("staff", gettext("Staff"), "azure") if user.is_staff else ""),
        column(
            _("active"),
            lambda user: ui.status_badge(
                "active" if user.is_active else "disabled", gettext("Active") if user.is_active else gettext("Disabled")
            ),
        ),
        at("last_login", _("last login")),
        at("date_joined", _("joined"), "date"),
    )
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
                [(one.email, yes(one.verified), yes(one.primary)) for one in addresses],
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
