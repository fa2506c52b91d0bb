"""The Flow terms of the rate card: what a dollar of list price is in Flows, by class and date, and each model's factor
(C16, F061-F064). Append-only: a change is a new row with a later date."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from billing.catalog.models import Model


class FlowRate(models.Model):
    """Flows for one dollar of list price, and Flows for the call itself, from a moment on.

    `flows_per_usd` is exact (39.6); the dollar price of a Flow that pages show ($0.02525) is computed from it and never
    the other way round (C03). A larger number makes Flows worth less: insiders have a smaller one, misuse a larger.
    """

    class FlowClass(models.TextChoices):
        STANDARD = "standard", _("Standard")
        INSIDER = "insider", _("Insider")
        RESTRICTED = "restricted", _("Restricted")

    flow_class = models.CharField(_("Flow class"), max_length=12, choices=FlowClass, default=FlowClass.STANDARD)
    flows_per_usd = models.DecimalField(_("Flows per USD"), max_digits=20, decimal_places=10)
    call_overhead_flows = models.DecimalField(_("Flows per call"), max_digits=20, decimal_places=6, default=0)
    effective_from = models.DateTimeField(_("from"))
    created_at = models.DateTimeField(_("created"))
    note = models.CharField(_("note"), max_length=200, blank=True)

    class Meta:
        ordering = ("flow_class", "-effective_from")
        verbose_name = _("Flow rate")
        verbose_name_plural = _("Flow rates")
        constraints = [
            models.UniqueConstraint(fields=["flow_class", "effective_from"], name="flow_rate_once"),
            models.CheckConstraint(
                condition=models.Q(flow_class__in=["standard", "insider", "restricted"]), name="flow_rate_class"
            ),
            models.CheckConstraint(
                condition=models.Q(flows_per_usd__gt=0, call_overhead_flows__gte=0), name="flow_rate_amounts"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.flow_class} {self.flows_per_usd.normalize():f}"


class FlowFactor(models.Model):
    """What a model's Flows are multiplied by, on one plan or (empty) on every plan, from a moment on."""

    class PlanCode(models.TextChoices):
        EVERY = "", _("Every plan")
        FREE = "free", _("Free")
        PRO = "pro", _("Pro")
        MAX = "max", _("Max")
        ULTRA = "ultra", _("Ultra")

    plan = models.CharField(_("plan"), max_length=8, choices=PlanCode, blank=True, default=PlanCode.EVERY)
    model = models.ForeignKey(Model, models.PROTECT, verbose_name=_("model"), related_name="flow_factors")
    factor = models.DecimalField(_("factor"), max_digits=12, decimal_places=6)
    effective_from = models.DateTimeField(_("from"))
    created_at = models.DateTimeField(_("created"))

    class Meta:
        ordering = ("model_id", "plan", "-effective_from")
        verbose_name = _("Flow factor")
        verbose_name_plural = _("Flow factors")
        constraints = [
            models.UniqueConstraint(fields=["plan", "model", "effective_from"], name="flow_factor_once"),
            models.CheckConstraint(
                condition=models.Q(plan__in=["", "free", "pro", "max", "ultra"]), name="flow_factor_plan"
            ),
            models.CheckConstraint(condition=models.Q(factor__gt=0), name="flow_factor_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.model_id} x {self.factor.normalize():f}"
