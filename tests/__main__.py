"""`python -m tests [pytest's arguments]`: the services that the suite needs, then pytest on two processes.

Without DATABASE_URL or REDIS_URL the embedded services run for the duration, with a data folder of their own and
without waiting for the disk. `make test ARGS=...` comes here.
"""

import os
import signal
import subprocess
import sys

from config import embedded


def main() -> int:
    """Run the suite; the exit status is pytest's."""
    arguments = sys.argv[1:]
    folder = embedded.data_dir() / "test"
    try:
        services = embedded.start(folder, durable=False)
    except embedded.EmbeddedServiceError as refusal:
        sys.exit(str(refusal))
    with services:
        environment = {**os.environ, "DATA_DIR": str(folder)}
        if "postgres" in services.wanted:
            environment["DATABASE_URL"] = services.database_url
        if "redis" in services.wanted:
            environment["REDIS_URL"] = services.redis_url
        # In our own order: the files that take long come first (conftest), so that no process ends alone.
        files = ["--dist", "loadfile", "--no-loadscope-reorder"]
        spread = [] if {"-n", "--pdb"} & set(arguments) else ["-n", "2", *files]
        command = [sys.executable, "-m", "pytest", "-p", "tests.plugin", *spread, *arguments]
        child = subprocess.Popen(command, cwd=embedded.BASE_DIR, env=environment)
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue  # pytest got it as well and writes its summary


if __name__ == "__main__":
    sys.exit(main())
