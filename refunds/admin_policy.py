"""The desk of refund terms: what holds now, what comes, what was; published after a preview, and never changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin_parts import audit_panel, person
from billing.desk import BillingDesk
from config import clock
from config.admin_base import sentences, staff_action
from config.admin_cells import Panel, at, column, list_url, row_url, yes
from config.templatetags import ui
from refunds import publishing
from refunds.eligibility import dollars
from refunds.forms_policy import PolicyForm, terms_in
from refunds.models_plan import PlanRefund
from refunds.models_policy import RefundPolicy
from refunds.policy_examples import Example
from refunds.policy_words import LABELS, TERMS, USAGE, WHOM, hours, share, term
from refunds.quote_plan import Lines


def standing(policy: RefundPolicy) -> str:
    """In force, to come, or followed by others."""
    now = clock.now()
    if policy.effective_from > now:
        return ui.status_badge("scheduled", gettext("to come"), tone="azure")
    until = until_of(policy)
    if until is None or until > now:
        return ui.status_badge("active", gettext("in force"))
    return ui.status_badge("past", gettext("past"))


def until_of(policy: Any) -> datetime | None:
    """When the next row begins; None for the last. The desk has read it with the row."""
    found: datetime | None = policy.until
    return found


def told(name: str) -> Any:
    """A term in words."""
    return column(LABELS[name], lambda policy: term(name, getattr(policy, name)), name=name)


def example_text(one: Example) -> str:
    """What is paid and used in an example."""
    said = {
        "code": one.code, "plan": one.plan, "paid": dollars(one.paid_minor), "flows": f"{one.flows:,}",
        "refunded": dollars(one.refunded_minor), "tax": dollars(one.tax_minor),
    }  # fmt: skip
    if one.tax_minor:
        return gettext("%(code)s with tax: %(plan)s, %(paid)s paid with %(tax)s of tax, %(flows)s Flows used") % said
    if one.refunded_minor:
        text = gettext("%(code)s: %(plan)s, %(paid)s paid, %(flows)s Flows used, %(refunded)s refunded before")
        return text % said
    return gettext("%(code)s: %(plan)s, %(paid)s paid, %(flows)s Flows used") % said


def outcome_text(lines: Lines) -> str:
    """What goes back, and the fee."""
    said = {"final": dollars(lines.final), "fee": dollars(lines.fee)}
    return gettext("%(final)s, fee %(fee)s") % said


@admin.register(RefundPolicy)
class RefundPolicyAdmin(BillingDesk):
    """Immutable rows: what each says, from when, and who published it."""

    by_hand = True
    row_title = staticmethod(lambda policy: gettext("Refund policy from %(at)s") % {"at": policy})
    related = ("created_by",)
    list_display = (
        at("effective_from", _("from"), "short"),
        column(_("state"), standing, name="standing"),
        column(_("until"), lambda one: ui.when(until_of(one)), name="until"),
        column(LABELS["window_hours"], lambda one: hours(one.window_hours), number=True, name="window"),
        column(LABELS["fee_rate"], lambda one: share(one.fee_rate), number=True, name="fee"),
        column(LABELS["fee_base"], lambda one: one.get_fee_base_display(), name="fee_base"),
        column(_("renewals refunded"), lambda one: yes(one.on_renewal), name="on_renewal"),
        column(_("tax goes back"), lambda one: yes(one.refund_tax), name="refund_tax"),
    )
    ordering = ("-effective_from",)
    facts = (
        (_("Terms"), tuple(told(name) for name in TERMS)),
        (
            _("Publication"),
            (
                column(_("state"), standing, name="standing"),
                "effective_from",
                column(_("until"), lambda one: ui.when(until_of(one), "full"), name="until"),
                "created_at",
                "created_by",
                "note",
            ),
        ),
    )
    actions_list = ("publish_terms",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Each row with the moment at which the next one takes over."""
        later = RefundPolicy.objects.filter(effective_from__gt=OuterRef("effective_from")).order_by("effective_from")
        return super().get_queryset(request).annotate(until=Subquery(later.values("effective_from")[:1]))

    def panels(self, request: HttpRequest, obj: RefundPolicy) -> list[Panel]:
        """Against the terms before, in figures, for whom, and what staff did."""
        before = RefundPolicy.objects.filter(effective_from__lt=obj.effective_from).order_by("-effective_from").first()
        differ = publishing.changes(before, obj) if before is not None else []
        asked = PlanRefund.objects.filter(policy=obj).count()
        return [
            Panel(
                _("Against the terms before"),
                (_("term"), _("before"), _("after")),
                [
                    (capfirst(str(LABELS[one.field])), term(one.field, one.before), term(one.field, one.after))
                    for one in differ
                ],
                empty=_("They change nothing.") if before is not None else _("The first terms."),
            ),
            Panel(
                _("In figures"),
                (_("example"), _("goes back")),
                [(example_text(one), outcome_text(lines)) for one, lines in publishing.outcomes(obj)],
                numbers=frozenset({1}),
                note=USAGE,
            ),
            Panel(_("For whom they hold"), (_("plan refunds asked for"),), [(ui.count(asked),)], note=WHOM),
            *audit_panel(request, obj),
        ]

    @staff_action(
        permission="refunds.publish_refundpolicy",
        title=_("Publish new terms"),
        button=_("Preview"),
        sentence=lambda _obj: sentences(
            gettext("Change what the terms say; nothing is published before you have seen the preview."), WHOM
        ),
        form=PolicyForm,
        icon="publish",
    )
    def publish_terms(self, request: HttpRequest, _obj: None, data: dict[str, Any]) -> HttpResponse:
        """A preview first; with what that preview showed, the row."""
        now, terms = clock.now(), terms_in(data)
        if not data["seen"]:
            return self._preview(request, publishing.preview(terms, now=now))
        policy = publishing.publish(
            terms,
            actor=person(request),
            reason=data["reason"],
            seen=data["seen"],
            key=UUID(data["token"]),
            now=now,
        )
        said = {"at": f"{policy.effective_from:%Y-%m-%d %H:%M}"}
        messages.success(request, gettext("The terms are published, from %(at)s UTC.") % said)
        return HttpResponseRedirect(row_url(policy))

    def _preview(self, request: HttpRequest, found: publishing.Preview) -> HttpResponse:
        form = PolicyForm(request.POST)
        form.is_valid()
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Publish these refund terms?"),
            "opts": self.opts,
            "original": None,
            "found": found,
            "start": f"{found.terms.effective_from:%Y-%m-%d %H:%M}" if found.terms.effective_from else "",
            "changes": [
                (LABELS[one.field], term(one.field, one.before), term(one.field, one.after)) for one in found.changes
            ],
            "examples": [
                (example_text(one.example), outcome_text(one.before), outcome_text(one.after), one.before != one.after)
                for one in found.examples
            ],
            "whom": WHOM,
            "reason": form["reason"].value(),
            "before": [(name, form[name].value()) for name in form.fields if name != "seen"],
            "form": form,
            "back": list_url(RefundPolicy),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/refund_policy_preview.html", context)
