"""Desks of benefit levels, staff roles, addresses and the audit."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Count
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import levels
from accounts.admin_parts import audit_panel, person
from accounts.models import AuditRecord, BenefitLevel
from config import clock
from config.admin_base import ReadOnlyAdmin, ReasonForm, staff_action
from config.admin_cells import Panel, at, column, count, link, to, yes
from config.admin_finding import Since
from config.templatetags import ui

# Second factors are secrets and sessions are private: neither has a desk.
for model in (Group, EmailAddress, Authenticator, UserSession):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


class LevelForm(ReasonForm):
    """What a level takes and gives."""

    threshold_usd = forms.DecimalField(
        label=_("From top-ups of (USD)"),
        min_value=0,
        required=False,
        max_digits=12,
        decimal_places=2,
        help_text=_("Net of refunds and disputes. Lowering it raises accounts; raising it takes nothing from anybody."),
    )
    discount = forms.DecimalField(
        label=_("Discount factor"), max_digits=6, decimal_places=4, help_text=_("0.95 means 95 % is paid (C20).")
    )
    rpm = forms.IntegerField(label=_("Requests per minute"), min_value=1, max_value=2_000_000_000)
    tpm = forms.IntegerField(label=_("Tokens per minute"), min_value=1, max_value=10**15)

    def __init__(self, *arguments: Any, obj: BenefitLevel, **options: Any) -> None:
        initial = {
            "threshold_usd": f"{obj.threshold_usd:.2f}",
            "discount": obj.discount,
            "rpm": obj.rpm,
            "tpm": obj.tpm,
        }
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
            threshold_usd=data["threshold_usd"],
            discount=data["discount"],
            rpm=data["rpm"],
            tpm=data["tpm"],
            actor=person(request),
            reason=data["reason"],
            now=clock.now(),
        )
        return gettext("%(level)s now pays × %(factor)s.") % {"level": changed, "factor": ui.number(changed.discount)}


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
        column(_("verified"), lambda one: yes(one.verified), name="verified"),
        column(_("primary"), lambda one: yes(one.primary), name="primary"),
    )
    list_filter = ("verified", "primary")
    ordering = ("-pk",)
    finds = (("email", "email"), ("number", "user_id"))
    search_help_text = _("E-mail address or user number")


@admin.register(AuditRecord)
class AuditRecordAdmin(ReadOnlyAdmin):
    """Who changed what, when and why (I12). Append-only by trigger."""

    row_title = staticmethod(lambda one: one.action)
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
