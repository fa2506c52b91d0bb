"""A published price version is sealed: nothing is changed, deleted or added (02-domain 2.4)."""

from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.migrations.state import ProjectState

from billing.catalog.models import FieldMultiplier, PriceComponent, PriceTier, PriceVersion
from tests import factories

PARTS: list[tuple[Any, dict[str, Any]]] = [
    (PriceComponent, {"component": "cache_read", "multiple": Decimal("0.1")}),
    (PriceTier, {"above_input_tokens": 1000, "input_per_1k": Decimal(2), "output_per_1k": Decimal(4)}),
    (FieldMultiplier, {"field": "quality", "equals": "high", "multiplier": Decimal(2)}),
]
each_part = pytest.mark.parametrize(("part", "values"), PARTS, ids=lambda entry: getattr(entry, "__name__", ""))


@pytest.mark.django_db(transaction=True)
@each_part
def test_nothing_is_added_to_a_version_that_another_transaction_wrote(part: Any, values: dict[str, Any]) -> None:
    version = factories.price()
    with pytest.raises(DatabaseError, match=f"price version {version.pk} is published"):
        part.objects.create(version=version, **values)
    with pytest.raises(DatabaseError, match="is published"):
        part.objects.bulk_create([part(version=version, **values)])
    assert not part.objects.exists()


@pytest.mark.django_db(transaction=True)
@each_part
def test_parts_join_in_the_transaction_that_writes_the_version_savepoints_included(
    part: Any, values: dict[str, Any]
) -> None:
    with transaction.atomic():
        with transaction.atomic():
            version = factories.price()
        with transaction.atomic():
            part.objects.create(version=version, **values)
    assert part.objects.get().version == version


@pytest.mark.django_db(transaction=True)
def test_one_sealed_version_refuses_the_whole_statement() -> None:
    old = factories.price()

    def add() -> None:
        with transaction.atomic():
            new = factories.price("test/other")
            PriceComponent.objects.bulk_create(
                PriceComponent(version=version, component="cache", multiple=Decimal(1)) for version in (new, old)
            )

    with pytest.raises(DatabaseError, match=f"price version {old.pk} is published"):
        add()
    assert PriceVersion.objects.count() == 1
    assert not PriceComponent.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("statement", ["UPDATE {} SET version_id = version_id", "DELETE FROM {}"])
@each_part
def test_the_parts_of_a_version_are_neither_changed_nor_deleted(
    part: Any, values: dict[str, Any], statement: str
) -> None:
    with transaction.atomic():
        part.objects.create(version=factories.price(), **values)
    with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(statement.format(part._meta.db_table))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_priceversion SET input_per_1k = 9",
        "UPDATE billing_priceversion SET written_in = pg_current_xact_id()",
        "DELETE FROM billing_priceversion",
    ],
)
def test_a_version_is_neither_changed_nor_deleted_nor_opened_again(statement: str) -> None:
    factories.price()
    with pytest.raises(DatabaseError, match="published and never changes"), connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.django_db
def test_the_migration_goes_back_and_forth_and_seals_what_is_there() -> None:
    migration = import_module("billing.migrations.0010_sealed_versions").Migration("0010", "billing")
    with connection.schema_editor(atomic=False) as editor:
        migration.unapply(ProjectState(), editor)
    version = factories.price()  # written before the seal, by this very transaction
    PriceComponent.objects.create(version=version, component="cache", multiple=Decimal(1))
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with connection.schema_editor(atomic=False) as editor:
        migration.apply(ProjectState(), editor)
    with pytest.raises(DatabaseError, match="is published"), transaction.atomic():
        PriceComponent.objects.create(version=version, component="cache_read", multiple=Decimal(1))
    assert factories.price("test/later", components={"cache": {"multiple": "1"}})
