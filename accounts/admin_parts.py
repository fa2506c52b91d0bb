"""What the desks share: who acts, an id, whether a key works, what was done to a row."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import AuditRecord, Credential, User
from config import clock
from config.admin_cells import Panel, code, column, list_url, masked
from config.templatetags import ui


def person(request: HttpRequest) -> User:
    """The person at the desk; the site lets nobody else in."""
    if not isinstance(request.user, User):
        raise TypeError("an action without a person")
    return request.user


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
mask = column(_("API key"), masked, name="key")


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
