#!/usr/bin/env python3
"""Set up `.venv-litellm`, an environment of its own for a LiteLLM proxy. Needs a bare Python only.

LiteLLM pins many packages that we use too, in other versions, so the two never share an environment. A stamp remembers
what was installed; a repeat does nothing. The work is done by config/install.py, pointed at the other environment.
"""

import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
LOCK = Path(__file__).resolve().parent / "requirements.lock"
VENV = ROOT / ".venv-litellm"


def main() -> None:
    """Install LiteLLM, unless it is there."""
    installer = load_installer()
    stamp = VENV / ".meterhall-litellm"
    wanted = installer.digest(LOCK, ROOT / "requirements-uv.lock")
    if installer.stamped(stamp, wanted) and installer.PYTHON.exists():
        return
    began = time.monotonic()
    installer.make_venv()
    installer.say("Installing LiteLLM, for the test with a real gateway ...")
    if not installer.install_with_uv(str(LOCK)):
        installer.pip("install", "--require-hashes", "-r", str(LOCK))
    stamp.write_text(wanted)
    installer.say(f"Installed in {time.monotonic() - began:.0f} s.")


def load_installer() -> ModuleType:
    """By path: the package `config` wants Celery, which a bare Python has not."""
    spec = importlib.util.spec_from_file_location("meterhall_install", ROOT / "config" / "install.py")
    if spec is None or spec.loader is None:
        sys.exit("config/install.py is missing.")
    installer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(installer)
    installer.VENV, installer.PYTHON = VENV, VENV / "bin" / "python"
    return installer


if __name__ == "__main__":
    main()
