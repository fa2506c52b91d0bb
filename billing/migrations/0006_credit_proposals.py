"""Manual credit that waits for a second person."""

import config.ids
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("billing", "0005_one_payment_one_order"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="CreditProposal",
            fields=[
                ("id", models.UUIDField(default=config.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("amount", models.DecimalField(decimal_places=10, max_digits=24, verbose_name="amount")),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires")),
                ("reason", models.CharField(max_length=500, verbose_name="reason")),
                ("key", models.CharField(help_text="Names the intent, for ever.", max_length=120, verbose_name="key")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("proposed", "Waiting for a second person"),
                            ("given", "Given"),
                            ("rejected", "Rejected"),
                        ],
                        default="proposed",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("created_at", models.DateTimeField(verbose_name="proposed")),
                ("decided_at", models.DateTimeField(blank=True, null=True, verbose_name="decided")),
                ("answer", models.CharField(blank=True, max_length=500, verbose_name="reason of the decision")),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.account"
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="decided by",
                    ),
                ),
                (
                    "grant",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="proposal",
                        to="billing.creditgrant",
                        verbose_name="credit grant",
                    ),
                ),
                (
                    "proposed_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="proposed by",
                    ),
                ),
            ],
            options={
                "verbose_name": "credit proposal",
                "verbose_name_plural": "credit proposals",
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "proposed")), fields=["created_at"], name="credit_proposal_open"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("account", "key"), name="credit_proposal_key"),
                    models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="credit_proposal_amount"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("decided_by__isnull", True), ("grant__isnull", True), ("state", "proposed")),
                            models.Q(("decided_by__isnull", False), ("grant__isnull", False), ("state", "given")),
                            models.Q(("decided_by__isnull", False), ("grant__isnull", True), ("state", "rejected")),
                            _connector="OR",
                        ),
                        name="credit_proposal_state",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "given"), _negated=True),
                            models.Q(("decided_by", models.F("proposed_by")), _negated=True),
                            _connector="OR",
                        ),
                        name="credit_proposal_second_person",
                    ),
                ],
            },
        ),
    ]
