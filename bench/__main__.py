"""`make bench`: every figure beside a floor or a peer measured in the same run (docs: only ratios mean anything).

    python -m bench [calls] [million] [rating] [webhooks] [statement]

One line a figure: name, ours, floor, ratio, goal. Rounds are interleaved; a ratio is the median of the rounds' ratios.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from config import embedded

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ("calls", "million", "rating", "statement", "webhooks")


def main() -> int:
    """Run the figures that were named, or all, on durable services of their own."""
    wanted = [name for name in sys.argv[1:] if not name.startswith("-")] or list(FIGURES)
    if unknown := set(wanted) - set(FIGURES):
        sys.stderr.write(f"There is no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}.\n")
        return 2
    options = [name for name in sys.argv[1:] if name.startswith("-")]
    code = 0
    for name in ("calls", "million", "statement", "webhooks"):
        if name not in wanted:
            continue
        with (
            tempfile.TemporaryDirectory(prefix="meterhall-bench-") as folder,
            embedded.start(Path(folder), durable=True) as services,
        ):
            settings = {
                "DATABASE_URL": services.database_url,
                "REDIS_URL": services.redis_url,
                "DATA_DIR": folder,
                "LOG_LEVEL": "WARNING",
            }
            code |= _run(f"bench.{name}", options, settings)
    if "rating" in wanted:
        code |= _run("bench.rating", options, {})
    return code


def _run(module: str, options: list[str], settings: dict[str, str]) -> int:
    sys.stdout.flush()
    return subprocess.run(
        [sys.executable, "-m", module, *options], cwd=ROOT, env=os.environ | settings, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
