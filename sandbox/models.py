from django.db import models
from django.db.models import Q


class StoredObject(models.Model):
    """One Stripe object as the API shows it, with its references unexpanded.

    `private` is what the provider knows and does not show (line items, the test card's later behaviour). `due_at` is
    when the object changes by itself: a session expires, a delayed payment or refund settles.
    """

    object_id = models.CharField(max_length=255, unique=True)
    kind = models.CharField(max_length=64)
    created = models.DateTimeField()
    customer = models.CharField(max_length=255, blank=True)
    payment_intent = models.CharField(max_length=255, blank=True)
    charge = models.CharField(max_length=255, blank=True)
    due_at = models.DateTimeField(null=True)
    data = models.JSONField()
    private = models.JSONField(default=dict)

    class Meta:
        indexes = [
            models.Index(fields=["kind", "-id"], name="sandbox_object_kind"),
            models.Index(fields=["customer", "kind"], name="sandbox_object_customer", condition=~Q(customer="")),
            models.Index(
                fields=["payment_intent", "kind"], name="sandbox_object_intent", condition=~Q(payment_intent="")
            ),
            models.Index(fields=["charge", "kind"], name="sandbox_object_charge", condition=~Q(charge="")),
            models.Index(fields=["due_at"], name="sandbox_object_due", condition=Q(due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.object_id


class Event(models.Model):
    """Something that happened, with the object as it was then."""

    event_id = models.CharField(max_length=255, unique=True)
    type = models.CharField(max_length=100, db_index=True)
    created = models.DateTimeField()
    object_id = models.CharField(max_length=255, db_index=True)
    body = models.JSONField()

    def __str__(self) -> str:
        return f"{self.event_id} {self.type}"


class Delivery(models.Model):
    """One sending of an event to the webhook route, with what came of it."""

    class State(models.TextChoices):
        PENDING = "pending"
        SENDING = "sending"
        DELIVERED = "delivered"
        FAILED = "failed"
        LOST = "lost"

    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=16, choices=State.choices, default=State.PENDING)
    due_at = models.DateTimeField()
    claimed_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    answered_at = models.DateTimeField(null=True)
    answer_status = models.PositiveIntegerField(null=True)
    answer_text = models.CharField(max_length=500, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], name="sandbox_delivery_due", condition=Q(state__in=["pending", "sending"])),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["pending", "sending", "delivered", "failed", "lost"]),
                name="sandbox_delivery_state",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} {self.state}"


class IdempotentRequest(models.Model):
    """The first request with a key. `status` is null while that request is at work."""

    key = models.CharField(max_length=255, unique=True)
    fingerprint = models.CharField(max_length=64)
    created = models.DateTimeField()
    status = models.PositiveIntegerField(null=True)
    body = models.JSONField(null=True)

    def __str__(self) -> str:
        return self.key


class RequestLog(models.Model):
    """Each call to the API: for the control page, and for checking our requests against the SDK's schema."""

    request_id = models.CharField(max_length=64, unique=True)
    at = models.DateTimeField()
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=500)
    query = models.TextField(blank=True)
    idempotency_key = models.CharField(max_length=255, blank=True)
    replayed = models.BooleanField(default=False)
    fault = models.CharField(max_length=16, blank=True)
    status = models.PositiveIntegerField()
    answer = models.JSONField(null=True)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Switches(models.Model):
    """How the provider behaves from now on; one row. `sandbox.switches` says what each value does."""

    hold = models.BooleanField(default=False)
    disturb = models.JSONField(default=list)
    percent = models.PositiveIntegerField(default=100)
    seed = models.IntegerField(default=1)
    decided = models.PositiveIntegerField(default=0)
    duplicates = models.PositiveIntegerField(default=3)
    delay_seconds = models.PositiveIntegerField(default=60)
    reorder_seconds = models.PositiveIntegerField(default=10)
    settle_seconds = models.PositiveIntegerField(default=20)
    refunds = models.CharField(max_length=16, default="succeed")
    wallets = models.CharField(max_length=16, default="at_once")
    three_d_secure = models.CharField(max_length=16, default="card")

    def __str__(self) -> str:
        return "switches"


class Fault(models.Model):
    """The next `times` calls whose path matches go wrong: refused before the work, or their answer lost after it."""

    class Kind(models.TextChoices):
        FAIL = "fail"
        LOSE = "lose"

    kind = models.CharField(max_length=8, choices=Kind.choices)
    path_regex = models.CharField(max_length=500)
    times = models.PositiveIntegerField(default=1)
    status = models.PositiveIntegerField(null=True)

    def __str__(self) -> str:
        return f"{self.kind} {self.path_regex}"
