"""What is shown of a storage's URL, and of a text that quotes one."""

import pytest

from sequifier_hpo.config.search import load_search
from sequifier_hpo.errors import ConfigError
from sequifier_hpo.redaction import redacted_url
from tests.conftest import WriteSearch


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
    assert redacted_url(url) == shown


@pytest.mark.parametrize(
    "line",
    [
        "storage: [postgresql://ann:s3cret@host/db]",
        "storage: {url: 'postgresql://ann@host/db?password=s3cret'}",
        "storage: {url: 'postgresql://ann@host/db?sslmode=require&token=s3cret'}",
        "storage: postgresql://ann:s3cret@host/db: x",
        "storages: postgresql://ann:s3cret@host/db",
    ],
)
def test_a_mistake_beside_a_password_is_shown_without_it(
    write_search: WriteSearch, line: str
) -> None:
    file = write_search()
    file.write_text(f"{file.read_text()}\n{line}\n")

    with pytest.raises(ConfigError, match="storage") as caught:
        load_search(file)

    assert "s3cret" not in str(caught.value)
