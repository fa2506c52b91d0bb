"""A document written out reads back as it was, so that a draft holds all that its file said."""

from pathlib import Path

import billing
from billing.catalog.documents import read_document, read_json
from billing.catalog.writing import document_body

DEMO = Path(billing.__file__).parent / "data" / "demo_catalog.json"


def test_the_demo_catalogue_reads_back_as_it_was() -> None:
    document = read_json(DEMO.read_bytes())

    assert read_document(document_body(document)) == document


def test_every_part_of_a_document_is_written() -> None:
    document = read_document(
        {
            "channels": [{"code": "apart", "discount": "0.8", "usage_convention": "exclusive"}],
            "models": [
                {
                    "slug": "a/b",
                    "kind": "video",
                    "image_tokens": {"kind": "area", "pixels_per_token": 750, "longest_side": 1568, "max_tokens": 1600},
                    "prices": [
                        {
                            "channel": "apart",
                            "type": "per_second",
                            "price": "0.4",
                            "effective_from": "2026-01-01T00:00:00Z",
                            "second_step": "0.5",
                            "min_seconds": "4",
                            "multiplier_cap": "3",
                            "field_multipliers": [{"field": "quality", "equals": "high", "multiplier": "1.8"}],
                        }
                    ],
                }
            ],
            "flow_rates": [{"flows_per_usd": "39.6", "effective_from": "2026-01-01T00:00:00Z", "note": "anchor"}],
            "flow_factors": [
                {"plan": "pro", "model": "a/b", "factor": "1.5", "effective_from": "2026-01-01T00:00:00Z"}
            ],
        }
    )

    assert read_document(document_body(document)) == document
