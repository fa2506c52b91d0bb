"""Find the few files that the pages need from the installed npm packages.

The packages' `dist` folders hold tens of megabytes of variants and source maps; hashing and compressing all of them
would make `collectstatic` slow and publish files that no page asks for. A file that a page needs is named here.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage, Storage

PAYMENT_LOGOS = (
    "alipay",
    "americanexpress",
    "dinersclub",
    "discover",
    "jcb",
    "mastercard",
    "unionpay",
    "visa",
    "we-chat-pay",
)

FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    # prefix: (folder below node_modules, files)
    "tabler": (
        "@tabler/core/dist",
        (
            "css/tabler.min.css",
            "css/tabler.min.css.map",
            "js/tabler.min.js",
            "js/tabler.min.js.map",
            *(f"img/payments/{brand}.svg" for brand in PAYMENT_LOGOS),
        ),
    ),
    "tabler-icons": (
        "@tabler/icons-webfont/dist",
        (
            "tabler-icons.min.css",
            "fonts/tabler-icons.woff2",
            "fonts/tabler-icons.woff",
            "fonts/tabler-icons.ttf",
        ),
    ),
    "inter": (
        "@fontsource-variable/inter/files",
        ("inter-latin-wght-normal.woff2", "inter-latin-ext-wght-normal.woff2"),
    ),
    "htmx": ("htmx.org/dist", ("htmx.min.js",)),
    "chart": ("chart.js/dist", ("chart.umd.min.js", "chart.umd.min.js.map")),
}


class PackageFinder(BaseFinder):
    """Serves exactly `FILES`, each below its package's prefix; what is not installed is not listed."""

    def __init__(self, app_names: Any = None, *args: Any, **kwargs: Any) -> None:
        self.storages: dict[str, FileSystemStorage] = {}
        for prefix, (folder, _) in FILES.items():
            storage = FileSystemStorage(location=Path(settings.BASE_DIR) / "node_modules" / folder)
            storage.prefix = prefix  # type: ignore[attr-defined]  # collectstatic reads it
            self.storages[prefix] = storage
        super().__init__(*args, **kwargs)

    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> Any:
        """The file's place on disk, or an empty list."""
        prefix, _, name = path.partition("/")
        if prefix in FILES and name in FILES[prefix][1] and self.storages[prefix].exists(name):
            found = self.storages[prefix].path(name)
            return [found] if find_all or kwargs.get("all") else found
        return []

    def list(self, ignore_patterns: Any) -> Iterator[tuple[str, Storage]]:
        """Every named file that is installed, with the storage that holds it."""
        for prefix, (_, names) in FILES.items():
            for name in names:
                if self.storages[prefix].exists(name):
                    yield name, self.storages[prefix]
