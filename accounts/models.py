"""Who someone is: users, the accounts they belong to, the keys and tokens that act for them, and the audit."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from config.ids import uuid7

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class UserManager(BaseUserManager["User"]):
    """Users sign in by e-mail; the address is unique whatever its case."""

    use_in_migrations = True

    def create_user(self, email: str, password: str | None = None, **extra: Any) -> User:
        """A user with this address; no password makes one that cannot sign in by password."""
        if not email:
            raise ValueError("A user needs an e-mail address.")
        user = self.model(email=self.normalize_email(email).lower(), **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **extra: Any) -> User:
        """A user who may do everything in the staff console."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **extra)


class User(AbstractBaseUser, PermissionsMixin):
    """A person. The primary key is the back-office user number (F002)."""

    uuid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(_("e-mail address"), unique=True)
    nickname = models.CharField(_("nickname"), max_length=80, blank=True)
    locale = models.CharField(_("language"), max_length=16, blank=True)
    time_zone = models.CharField(_("time zone"), max_length=64, default="UTC")
    is_staff = models.BooleanField(_("staff"), default=False)
    is_active = models.BooleanField(_("active"), default=True)
    date_joined = models.DateTimeField(_("joined"), auto_now_add=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = [models.CheckConstraint(condition=models.Q(email=Lower("email")), name="user_email_lower")]

    def __str__(self) -> str:
        return self.nickname or self.email

    def get_short_name(self) -> str:
        """The name for greetings."""
        return self.nickname or self.email.partition("@")[0]

    get_full_name = get_short_name


class BenefitLevel(models.Model):
    """What the net captured top-ups of an account earn it (F018, C19, J12)."""

    number = models.PositiveSmallIntegerField(_("level"), unique=True)
    name = models.CharField(_("name"), max_length=60)
    threshold_usd = models.DecimalField(_("from top-ups of"), max_digits=24, decimal_places=10, unique=True)
    discount = models.DecimalField(
        _("discount factor"), max_digits=6, decimal_places=4, default=1, help_text=_("0.95 means 95 % is paid (C20).")
    )
    rpm = models.PositiveIntegerField(_("requests per minute"), default=600)
    tpm = models.PositiveBigIntegerField(_("tokens per minute"), default=2_000_000)

    class Meta:
        ordering = ("threshold_usd",)
        verbose_name = _("benefit level")
        verbose_name_plural = _("benefit levels")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(discount__gt=0, discount__lte=models.Value("1.5", models.DecimalField())),
                name="benefit_level_discount",
            )
        ]

    def __str__(self) -> str:
        return self.name


class AccountQuerySet(models.QuerySet["Account"]):
    """The root of every scoped read."""

    def visible_to(self, user: User | AnonymousUser) -> AccountQuerySet:
        """The accounts that this user is a member of."""
        if not user.is_authenticated:
            return self.none()
        return self.filter(memberships__user=user)


class Account(models.Model):
    """A billing account: the customer (F001). A person or a company; a user may hold several (F003)."""

    class Kind(models.TextChoices):
        PERSONAL = "personal", _("Personal")
        COMPANY = "company", _("Company")

    class Status(models.TextChoices):
        ACTIVE = "active", _("Active")
        SUSPENDED = "suspended", _("Suspended")
        CLOSED = "closed", _("Closed")

    id = models.UUIDField(_("account ID"), primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("name"), max_length=120)
    kind = models.CharField(_("kind"), max_length=12, choices=Kind, default=Kind.PERSONAL)
    status = models.CharField(_("status"), max_length=12, choices=Status, default=Status.ACTIVE)
    company_name = models.CharField(_("company name"), max_length=200, blank=True)
    tax_id = models.CharField(_("tax ID"), max_length=64, blank=True)
    benefit_level = models.ForeignKey(
        BenefitLevel, models.PROTECT, verbose_name=_("benefit level"), null=True, blank=True
    )
    created_at = models.DateTimeField(_("created"))

    objects: ClassVar[Any] = AccountQuerySet.as_manager()

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=["active", "suspended", "closed"]), name="account_status"
            ),
            models.CheckConstraint(condition=models.Q(kind__in=["personal", "company"]), name="account_kind"),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's role in an account."""

    class Role(models.TextChoices):
        OWNER = "owner", _("Owner")
        ADMIN = "admin", _("Admin")
        FINANCE = "finance", _("Finance")
        DEVELOPER = "developer", _("Developer")

    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    account = models.ForeignKey(Account, models.PROTECT, related_name="memberships")
    role = models.CharField(_("role"), max_length=12, choices=Role, default=Role.DEVELOPER)
    created_at = models.DateTimeField(_("since"))

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.UniqueConstraint(fields=["account", "user"], name="membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=["owner", "admin", "finance", "developer"]), name="membership_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.get_role_display()}"


class KeyGroup(models.Model):
    """Keys that are counted and limited together (F015)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="key_groups")
    name = models.CharField(_("name"), max_length=80)
    allowed_models = ArrayField(
        models.CharField(max_length=120), verbose_name=_("allowed models"), null=True, blank=True
    )
    created_at = models.DateTimeField(_("created"))

    class Meta:
        verbose_name = _("key group")
        verbose_name_plural = _("key groups")
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="key_group_name")]

    def __str__(self) -> str:
        return self.name


class Credential(models.Model):
    """What all secrets have in common: the keyed hash for look-up and the ends that may be shown (I13, C22)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=80)
    hash = models.BinaryField(unique=True, max_length=32, editable=False)
    prefix = models.CharField(max_length=16, editable=False)
    last_four = models.CharField(max_length=4, editable=False)
    created_at = models.DateTimeField(_("created"))
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    disabled_at = models.DateTimeField(_("disabled"), null=True, blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.name} {self.masked}"

    @property
    def masked(self) -> str:
        """`sk-pg-v1-…9f3a`: all of the secret that is ever shown again."""
        return f"{self.prefix}…{self.last_four}"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Reads of API keys."""

    def visible_to(self, user: User | AnonymousUser) -> ApiKeyQuerySet:
        """The keys of the accounts that this user is a member of."""
        return self.filter(account__in=Account.objects.visible_to(user))


class ApiKey(Credential):
    """A customer's key for calls through the gateway: pay-as-you-go `sk-pg-v1-` or subscription `sk-ss-v1-` (F078)."""

    class Kind(models.TextChoices):
        PAYG = "payg", _("Pay as you go")
        SUBSCRIPTION = "subscription", _("Subscription")

    account = models.ForeignKey(Account, models.PROTECT, related_name="api_keys")
    group = models.ForeignKey(KeyGroup, models.PROTECT, related_name="keys", null=True, blank=True)
    kind = models.CharField(_("kind"), max_length=14, choices=Kind, default=Kind.PAYG)
    allowed_models = ArrayField(
        models.CharField(max_length=120), verbose_name=_("allowed models"), null=True, blank=True
    )
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    rotated_from = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="+")

    objects: ClassVar[Any] = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        indexes = [models.Index(fields=["account", "-created_at"], name="api_key_account")]
        constraints = [
            models.CheckConstraint(condition=models.Q(kind__in=["payg", "subscription"]), name="api_key_kind")
        ]


class ManagementKey(Credential):
    """`mk-…`: lets a customer's program read and steer one account with the rights of a role."""

    account = models.ForeignKey(Account, models.PROTECT, related_name="management_keys")
    role = models.CharField(_("role"), max_length=12, choices=Membership.Role, default=Membership.Role.ADMIN)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        verbose_name = _("management key")
        verbose_name_plural = _("management keys")


class GatewayToken(Credential):
    """`gw-…`: lets a gateway authorise, capture and void calls of every account."""

    allowed_ips = ArrayField(
        models.CharField(max_length=43), verbose_name=_("allowed addresses"), default=list, blank=True
    )

    class Meta:
        verbose_name = _("gateway token")
        verbose_name_plural = _("gateway tokens")


class AuditRecord(models.Model):
    """What a person changed: actor, action, subject, before, after, reason (I12). Append-only by trigger."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(_("time"))
    actor = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("actor"))
    actor_label = models.CharField(_("actor"), max_length=200)
    account = models.ForeignKey(
        Account, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("account")
    )
    action = models.CharField(_("action"), max_length=60)
    subject_type = models.CharField(_("kind of subject"), max_length=60)
    subject_id = models.CharField(_("subject"), max_length=120)
    before = models.JSONField(_("before"), default=dict)
    after = models.JSONField(_("after"), default=dict)
    reason = models.TextField(_("reason"), blank=True)

    class Meta:
        verbose_name = _("audit record")
        verbose_name_plural = _("audit records")
        indexes = [
            models.Index(fields=["-at"], name="audit_time"),
            models.Index(fields=["account", "-at"], name="audit_account"),
            models.Index(fields=["subject_type", "subject_id"], name="audit_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject_type} {self.subject_id}"
