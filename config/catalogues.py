"""Message catalogues in pure Python: read a `.po`, write its `.mo`.

Django loads `.mo` files, and GNU gettext's `msgfmt` is missing on most machines, so the compiled catalogues are
committed and this module makes them. Collecting the strings (`manage.py messages`) does need GNU gettext, but only
someone who changes texts does that.
"""

import ast
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

_KEYWORD = re.compile(r'(msgctxt|msgid_plural|msgid|msgstr(?:\[(\d+)\])?)\s+(".*")\s*$')
_MAGIC = 0x950412DE


@dataclass
class Entry:
    """One message; `texts` by plural form."""

    context: str | None = None
    id: str = ""
    plural: str | None = None
    texts: dict[int, str] = field(default_factory=dict)
    fuzzy: bool = False

    @property
    def key(self) -> str:
        """As gettext looks it up."""
        name = self.id if self.plural is None else f"{self.id}\0{self.plural}"
        return name if self.context is None else f"{self.context}\x04{name}"

    @property
    def value(self) -> str:
        """All forms in order."""
        return "\0".join(self.texts[form] for form in sorted(self.texts))

    @property
    def translated(self) -> bool:
        """Every form is filled in, and nobody has marked it as a guess."""
        return bool(self.texts) and all(self.texts.values()) and not self.fuzzy


def read(path: Path) -> list[Entry]:
    """The entries of a `.po` file, its header first. Obsolete ones are left out. Raises ValueError on a bad line."""
    entries: list[Entry] = []
    entry = Entry()
    part: tuple[str, int] = ("", 0)
    begun = fuzzy = False

    def add(text: str) -> None:
        name, form = part
        if name == "msgctxt":
            entry.context = (entry.context or "") + text
        elif name == "msgid":
            entry.id += text
        elif name == "msgid_plural":
            entry.plural = (entry.plural or "") + text
        else:
            entry.texts[form] = entry.texts.get(form, "") + text

    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if line.startswith("#,"):
            fuzzy = fuzzy or "fuzzy" in line
        if not line or line.startswith("#"):
            continue
        found = _KEYWORD.match(line)
        if found:
            name = found[1].partition("[")[0]
            if name == "msgctxt" or (name == "msgid" and part[0] != "msgctxt"):
                entry, begun = Entry(fuzzy=fuzzy), True
                entries.append(entry)
                fuzzy = False
            part = (name, int(found[2] or 0))
            add(ast.literal_eval(found[3]))
        elif line.startswith('"') and begun:
            add(ast.literal_eval(line))
        else:
            raise ValueError(f"{path}:{number}: not a line of a catalogue: {line[:60]}")
    return entries


def compiled(entries: list[Entry]) -> bytes:
    """The `.mo` of these entries: the header and what is translated, sorted; the same bytes for the same entries."""
    kept = sorted(
        (entry.key.encode(), entry.value.encode())
        for entry in entries
        if entry.translated or (not entry.id and entry.texts)
    )
    count = len(kept)
    at = 7 * 4 + 2 * count * 8
    tables: list[bytes] = []
    for column in (0, 1):
        for pair in kept:
            tables.append(struct.pack("<II", len(pair[column]), at))
            at += len(pair[column]) + 1
    head = struct.pack("<7I", _MAGIC, 0, count, 28, 28 + count * 8, 0, 28 + count * 16)
    strings = b"".join(pair[column] + b"\0" for column in (0, 1) for pair in kept)
    return head + b"".join(tables) + strings


def compile_file(path: Path) -> Path:
    """Write the `.mo` beside the `.po`."""
    target = path.with_suffix(".mo")
    target.write_bytes(compiled(read(path)))
    return target


def in_step(path: Path) -> bool:
    """The committed `.mo` is what the `.po` says."""
    target = path.with_suffix(".mo")
    return target.exists() and target.read_bytes() == compiled(read(path))
