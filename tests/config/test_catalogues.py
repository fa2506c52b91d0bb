"""The translations: complete, compiled, and saying the same placeholders."""

import gettext
import io
import re
from pathlib import Path

import pytest
from django.conf import settings

from config import catalogues

CATALOGUES = sorted(Path(settings.LOCALE_PATHS[0]).rglob("*.po"))
SAMPLE = r"""
# a comment
#, fuzzy
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\n"

#: a.py
msgid "One \"quoted\"\n"
"line"
msgstr "Eins"

msgctxt "money"
msgid "Balance"
msgstr "Guthaben"

msgid "Balance"
msgstr "Waage"

#, python-format
msgid "%(n)s call"
msgid_plural "%(n)s calls"
msgstr[0] "%(n)s Aufruf"
msgstr[1] "%(n)s Aufrufe"

#, fuzzy
msgid "Guessed"
msgstr "Geraten"

msgid "Empty"
msgstr ""

#~ msgid "Old"
#~ msgstr "Alt"
"""


def test_what_is_compiled_reads_as_gettext_reads_it(tmp_path):
    path = tmp_path / "sample.po"
    path.write_text(SAMPLE, encoding="utf-8")
    found = gettext.GNUTranslations(io.BytesIO(catalogues.compiled(catalogues.read(path))))

    assert found.gettext('One "quoted"\nline') == "Eins"
    assert found.gettext("Balance") == "Waage"
    assert found.pgettext("money", "Balance") == "Guthaben"
    assert [found.ngettext("%(n)s call", "%(n)s calls", n) for n in (1, 2)] == ["%(n)s Aufruf", "%(n)s Aufrufe"]
    assert found.gettext("Guessed") == "Guessed"
    assert found.gettext("Empty") == "Empty"
    assert found.gettext("Old") == "Old"


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "broken.po"
    path.write_text('msgid "a"\nmsgstr "b"\nnonsense\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"broken\.po:3"):
        catalogues.read(path)


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parent.parent.name)
def test_the_committed_catalogue_is_the_compiled_one(path):
    assert catalogues.in_step(path), "run `make messages ARGS=--compile`"


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parent.parent.name)
def test_every_collected_text_is_translated_with_the_same_placeholders(path):
    entries = [entry for entry in catalogues.read(path) if entry.id]
    placeholder = re.compile(r"%\(\w+\)[sd]|\{\w*\}|%[sd]")

    assert [entry.id for entry in entries if not entry.translated] == []
    for entry in entries:
        wanted = set(placeholder.findall(entry.plural or entry.id))
        for text in entry.texts.values():
            assert set(placeholder.findall(text)) == wanted, entry.id
