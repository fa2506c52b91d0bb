"""The development mailbox: mail is printed, kept as files under DATA_DIR/mail, and readable at /dev/mail/."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage as ParsedMessage
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.console import EmailBackend as ConsoleBackend
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html, format_html_join
from django.views.decorators.http import require_safe

from config import clock

KEPT = 200


def folder() -> Path:
    """Where the mails lie; made when first needed."""
    path = Path(settings.DATA_DIR) / "mail"
    path.mkdir(parents=True, exist_ok=True)
    return path


class MailboxBackend(ConsoleBackend):
    """Prints each mail and keeps the newest `KEPT` as files. For development only: nothing leaves the machine."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not settings.DEBUG:
            raise ImproperlyConfigured("The mailbox is for development. Set EMAIL_URL to send mail with DEBUG off.")
        super().__init__(*args, **kwargs)

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Store first, so that a closed terminal loses nothing."""
        place = folder()
        for message in email_messages:
            name = f"{clock.now():%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}.eml"
            waiting = place / f".{name}"
            waiting.write_bytes(message.message().as_bytes())
            waiting.rename(place / name)
        for old in sorted(place.glob("*.eml"))[:-KEPT]:
            old.unlink(missing_ok=True)
        return super().send_messages(email_messages) or len(email_messages)


@dataclass(frozen=True)
class Mail:
    """One stored mail, as the pages show it."""

    name: str
    subject: str
    to: str
    sender: str
    sent_at: datetime | None
    text: str

    @property
    def linked(self) -> str:
        """The text with its web addresses as links."""
        pieces = re.split(r"(https?://[^\s<>\"]+)", self.text)
        link = '<a href="{0}">{0}</a>'
        return format_html_join("", "{}", ((format_html(link, p) if n % 2 else p,) for n, p in enumerate(pieces)))


def _sent_at(header: str) -> datetime | None:
    """Django writes UTC as `-0000`, which Python reads as a time without a zone."""
    if not header:
        return None
    found = parsedate_to_datetime(header)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _read(path: Path) -> Mail:
    message: ParsedMessage = BytesParser(policy=policy.default).parsebytes(path.read_bytes())
    body = message.get_body(preferencelist=("plain", "html"))
    return Mail(
        name=path.stem,
        subject=str(message["subject"] or ""),
        to=str(message["to"] or ""),
        sender=str(message["from"] or ""),
        sent_at=_sent_at(str(message["date"] or "")),
        text=body.get_content() if body else "",
    )


@require_safe
def inbox(request: HttpRequest) -> HttpResponse:
    """The newest mails, and the one that is open."""
    if not settings.DEBUG:
        raise Http404
    paths = sorted(folder().glob("*.eml"), reverse=True)[:50]
    wanted = request.GET.get("to", "").strip().lower()
    mails = [mail for mail in map(_read, paths) if wanted in mail.to.lower()]
    name = request.GET.get("open", "")
    opened = next((mail for mail in mails if mail.name == name), mails[0] if mails else None)
    return render(request, "dev/mailbox.html", {"mails": mails, "opened": opened, "wanted": wanted})
