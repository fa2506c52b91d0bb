"""Notices: written with the fact, mailed once to those who may pay, each in their own words."""

from __future__ import annotations

import smtplib
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core import mail
from django.db import transaction
from django.test import override_settings

from accounts.models import Account, Membership
from billing import notices, tasks
from billing.models_notices import Notice
from config import clock
from tests import factories
from tests.concurrency.helpers import at_once

pytestmark = pytest.mark.django_db(transaction=True)
NOON = factories.NOON


@pytest.fixture(autouse=True)
def _templates(settings, tmp_path):
    """A notice of the tests' own, so that what is said here does not hang on a product text."""
    (tmp_path / "emails").mkdir()
    (tmp_path / "emails" / "probe_subject.txt").write_text("{{ amount_usd }}\nfor {{ account.name }}\n")
    (tmp_path / "emails" / "probe_body.txt").write_text(
        '{% load i18n %}{% translate "Account" %} {{ when_at|date:"H:i" }} {{ word }} {{ user.email }}'
    )
    own = {**settings.TEMPLATES[0], "DIRS": [tmp_path, *settings.TEMPLATES[0]["DIRS"]]}
    with override_settings(TEMPLATES=[own, *settings.TEMPLATES[1:]]):
        yield


def tell(account: Account, key: str = "fact:1", **more: object) -> Notice:
    with transaction.atomic():
        notices.tell(
            account.pk,
            "probe",
            key=key,
            context={"amount_usd": "5.00", "when_at": NOON.isoformat(), "word": "tea"},
            now=NOON,
            **more,
        )
    return Notice.objects.get(account=account, key=key)


def joined(account: Account, role: str, **user_fields: object) -> None:
    Membership.objects.create(account=account, user=factories.user(**user_fields), role=role, created_at=NOON)


def test_each_reader_who_may_pay_gets_it_in_their_language_and_time_zone() -> None:
    account = factories.account()
    joined(account, "finance", email="fin@example.com", locale="zh-hans", time_zone="Asia/Shanghai")
    joined(account, "developer", email="dev@example.com")
    row = tell(account)

    notices.send(row.pk, now=NOON)

    assert sorted(m.to[0] for m in mail.outbox) == sorted(
        ["fin@example.com", account.memberships.get(role="owner").user.email]
    )
    [chinese] = [m for m in mail.outbox if m.to == ["fin@example.com"]]
    assert chinese.subject == f"5.00 for {account.name}"
    assert chinese.body.startswith("账户 20:00 tea")


def test_the_same_fact_is_told_once_however_often_it_is_written_or_sent() -> None:
    account = factories.account()
    first, second = tell(account), tell(account)
    assert first.pk == second.pk

    sent = at_once(4, lambda _number: notices.send(first.pk, now=NOON))
    assert sorted(sent) == [False, False, False, True]
    assert len(mail.outbox) == 1


def test_only_the_named_person_is_told_when_one_is_named() -> None:
    account = factories.account()
    joined(account, "developer", email="dev@example.com")
    row = tell(account, user_id=Membership.objects.get(user__email="dev@example.com").user_id)
    notices.send(row.pk, now=NOON)
    assert [m.to for m in mail.outbox] == [["dev@example.com"]]


def test_a_mail_server_that_is_away_delays_a_notice_and_keeps_the_reason(settings) -> None:
    account = factories.account()
    row = tell(account)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    with pytest.raises((OSError, smtplib.SMTPException)):
        notices.send(row.pk, now=NOON)
    row.refresh_from_db()
    assert (row.sent_at, row.attempts) == (None, 1)
    assert "Refused" in row.last_error
    assert notices.due(now=NOON + notices.SWEEP_AFTER) == [row.pk]

    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert notices.send(row.pk, now=NOON + timedelta(minutes=3))
    assert len(mail.outbox) == 1


def test_nothing_is_told_of_a_fact_that_was_rolled_back() -> None:
    account = factories.account()
    with transaction.atomic():
        notices.tell(account.pk, "probe", key="x", context={}, now=NOON)
        transaction.set_rollback(True)
    assert not Notice.objects.exists()


def test_the_sweep_mails_what_nobody_was_woken_for_and_goes_on_after_one_that_fails() -> None:
    account = factories.account()
    now = clock.now()
    old = now - timedelta(minutes=5)
    for key, kind in (("a", "no_such_template"), ("b", "probe")):
        notices.tell(account.pk, kind, key=key, context={}, now=old)
    mail.outbox.clear()
    Notice.objects.update(sent_at=None, claimed_at=None, attempts=0)

    tasks.sweep_notices()

    assert len(mail.outbox) == 1
    assert "TemplateDoesNotExist" in Notice.objects.get(key="a").last_error


EMAILS = settings.BASE_DIR / "templates" / "emails"


@pytest.mark.parametrize("body", sorted(EMAILS.glob("*_body.txt")), ids=lambda path: path.name)
def test_every_mail_greets_its_reader_and_sets_the_account_apart(body: Path) -> None:
    text = body.read_text()
    assert text.partition("%}Hello {{ name }},{%")[0].count("\n") == 0
    if '{% include "emails/_end.txt" %}' in text:
        assert '\n\n{% include "emails/_end.txt" %}' in text
