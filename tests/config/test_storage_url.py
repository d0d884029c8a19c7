"""What is shown of a storage's URL."""

import pytest

from sequifier_hpo.config.storage_url import redacted


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann@host/db?sslmode=require", "postgresql://ann@host/db?sslmode=require"),
        ("postgresql://ann:s3cret@host:5432/db", "postgresql://ann:***@host:5432/db"),
        ("postgresql://ann:s3c/r@et@host/db", "postgresql://ann:***@host/db"),
        ("postgresql:// ann:s3cret@host/db", "postgresql:// ann:***@host/db"),
        ("postgresql://a/nn:s3cret@host/db", "postgresql://a/nn:***@host/db"),
        ("postgresql://host/db?user=ann&PassWord=s3cret&a=b",
         "postgresql://host/db?user=ann&PassWord=***&a=b"),
        ("sqlite:////data/study.db", "sqlite:////data/study.db"),
    ],
)  # fmt: skip
def test_a_storage_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redacted(url) == shown
