"""The development mailbox."""

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.test import Client

from config.mailbox import MailboxBackend, folder

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_folder(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    settings.DEBUG = True


def send(subject="Hello", body="See https://example.com/a?b=1&c=2 <b>now</b>", to="lin@example.com"):
    with mail.get_connection("config.mailbox.MailboxBackend") as connection:
        EmailMessage(subject, body, to=[to], connection=connection).send()


def test_a_mail_is_kept_and_shown_with_its_link_and_without_its_markup(client, capsys):
    send()
    shown = client.get("/dev/mail/").content.decode()

    assert len(list(folder().glob("*.eml"))) == 1
    assert "Subject: Hello" in capsys.readouterr().out
    assert '<a href="https://example.com/a?b=1&amp;c=2">' in shown
    assert "&lt;b&gt;now&lt;/b&gt;" in shown


def test_mails_can_be_found_by_recipient(client):
    send("First", to="a@example.com")
    send("Second", to="b@example.com")
    shown = client.get("/dev/mail/", {"to": "A@example"}).content.decode()
    assert "First" in shown
    assert "Second" not in shown


def test_only_the_newest_are_kept(monkeypatch):
    monkeypatch.setattr("config.mailbox.KEPT", 3)
    for number in range(5):
        send(str(number))
    assert len(list(folder().glob("*.eml"))) == 3


def test_with_debug_off_there_is_no_mailbox(settings):
    settings.DEBUG = False
    assert Client().get("/dev/mail/").status_code == 404
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL"):
        MailboxBackend()
