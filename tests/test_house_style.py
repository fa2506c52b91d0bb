"""Rules that no linter knows, read from the source itself."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
APPS = ("accounts", "billing", "gateway", "refunds", "sandbox", "subscriptions", "support")
EDGES = {
    "adapter", "admin", "api", "apps", "authentication", "context", "dashboard", "forms", "intake", "lane",
    "middleware", "tasks", "urls", "views",
}  # fmt: skip
PURE = (
    "billing/money.py",
    "billing/errors.py",
    "billing/catalog/rating.py",
    "billing/catalog/normalise.py",
    "billing/catalog/usage.py",
    "subscriptions/advice.py",
    "subscriptions/counting.py",
    "subscriptions/windows.py",
    "subscriptions/equivalence.py",
    "subscriptions/proration.py",
    "refunds/quote.py",
    "refunds/quote_plan.py",
    "support/redaction.py",
)


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for app in APPS:
        for path in sorted((BASE_DIR / app).rglob("*.py")):
            yield path.relative_to(BASE_DIR), ast.parse(path.read_text(), str(path))


def is_edge(path: Path) -> bool:
    """Views, tasks, admin and the like, also when split (`views_control.py`); commands; the sandbox as a whole."""
    words = {path.stem, path.stem.partition("_")[0], path.stem.rpartition("_")[2], *path.parts[:-1]}
    return path.parts[0] == "sandbox" or "commands" in path.parts or bool(words & EDGES)


def test_only_edges_read_the_clock() -> None:
    offenders = [
        f"{path}:{node.lineno}"
        for path, tree in sources()
        if not is_edge(path)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"clock.now", "config.clock.now"}
    ]
    assert not offenders, f"`now` is an argument below the edges: {offenders}"


def test_pure_modules_import_no_database() -> None:
    offenders = []
    for name in PURE:
        path = BASE_DIR / name
        if path.exists():
            offenders += [f"{name}: {module}" for module in imported(ast.parse(path.read_text())) if is_impure(module)]
    assert not offenders


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def is_impure(module: str) -> bool:
    return module.startswith(("django.db", "psycopg", "redis", "celery")) or module.endswith(".models")


def test_texts_stand_where_translators_find_them() -> None:
    """What collects them does not look into f-strings."""
    offenders = [
        f"{path}:{call.lineno}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func) in {"_", "gettext", "gettext_lazy", "ngettext"}
    ]
    assert not offenders, f"Translate before the f-string: {offenders}"


def test_only_the_processor_imports_stripe() -> None:
    offenders = [
        str(path)
        for path, tree in sources()
        if not str(path).startswith("billing/payments/stripe_")
        and any(name.partition(".")[0] == "stripe" for name in imported(tree))
    ]
    assert not offenders


def test_templates_have_no_inline_scripts_or_styles() -> None:
    """The content security policy would refuse them in the browser, where nobody looks."""
    script = r"""<script(?![^>]*\bsrc=)(?![^>]*type="application/json")[^>]*>"""
    forbidden = re.compile(script + r"""|<style|\sstyle=|\son[a-z]+=["']""")
    offenders = []
    for path in sorted((BASE_DIR / "templates").rglob("*.html")):
        relative = path.relative_to(BASE_DIR)
        text = re.sub(r"\{#.*?#\}|\{% comment %\}.*?\{% endcomment %\}", "", path.read_text(), flags=re.DOTALL)
        offenders += [f"{relative}: {found[0].strip()}" for found in forbidden.finditer(text)]
    assert not offenders


def test_every_setting_is_explained_in_the_example_environment() -> None:
    read = set(re.findall(r'env\.[a-z_]+\(\s*"([A-Z_]+)"', (BASE_DIR / "config" / "settings.py").read_text()))
    explained = set(re.findall(r"^#?([A-Z_]+)=", (BASE_DIR / ".env.example").read_text(), re.MULTILINE))
    assert read - explained == set()
