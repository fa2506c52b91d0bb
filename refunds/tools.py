"""Tools of other makers that customers name when they ask for their money back (F021). Pure."""

from __future__ import annotations

import re
from typing import Final

# Names that mean nothing else are found however they are written; the others only as their makers write them.
_NAMES: Final = (
    "Aider",
    "Chatbox",
    "Cherry Studio",
    "Claude Code",
    "Cline",
    "Copilot",
    "Cursor",
    "Dify",
    "LobeChat",
    "NextChat",
    "Open WebUI",
    "Roo Code",
    "SillyTavern",
    "Windsurf",
)
_AS_WRITTEN: Final = ("Continue", "continue.dev", "Zed")


def _found(names: tuple[str, ...]) -> str:
    """Whole names, also between Chinese characters, which count as letters to `\\b`."""
    return "|".join(re.escape(name).replace(r"\ ", r"[\s-]?") for name in names)


_ANY: Final = re.compile(rf"(?<![A-Za-z0-9])(?i:({_found(_NAMES)}))(?![A-Za-z0-9])")
_EXACT: Final = re.compile(rf"(?<![A-Za-z0-9])({_found(_AS_WRITTEN)})(?![A-Za-z0-9])")


def named_in(text: str) -> tuple[str, ...]:
    """The tools that a text names, as it writes them, each once."""
    found = [*_ANY.findall(text), *_EXACT.findall(text)]
    return tuple(dict.fromkeys(found))
