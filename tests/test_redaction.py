"""What is shown of a storage's URL, and of a text that quotes one."""

import pytest

from sequifier_hpo.config.search import load_search
from sequifier_hpo.errors import ConfigError, InputError
from sequifier_hpo.redaction import redacted_text, redacted_url
from sequifier_hpo.study import Storage
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


@pytest.mark.parametrize(
    "value",
    [
        "{host: h, password: s3cret}",
        "[h, s3cret]",
        "{url: 'postgresql://ann:s3cret@host/db'}",
        "['postgresql://ann:s3cret-and-so-long-that-it-would-be-cut-before-the-end@host/db']",
        "{host: h, password: s3cret",
        "postgresql://ann:s3 cret@host: b",
    ],
)
def test_no_message_about_a_storage_holds_its_value(write_search: WriteSearch, value: str) -> None:
    path = write_search()
    path.write_text(f"{path.read_text()}\nstorage: {value}\n")

    with pytest.raises(ConfigError) as caught:
        load_search(path)

    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://u:a@b@host/db", "postgresql://u:1/a@b@host/db"])
def test_a_password_with_an_at_sign_is_refused_before_a_driver_sees_it(url: str) -> None:
    with pytest.raises(InputError, match=r"more than one @(?s:.)*%40") as caught:
        Storage(url)

    assert "b@host" not in str(caught.value)


def test_a_text_shows_no_password_of_a_mapping() -> None:
    text = "{'host': 'h', 'password': 's3cret', 'port': 1} and passwd: \"s3 cret\""

    assert redacted_text(text) == "{'host': 'h', 'password': ***, 'port': 1} and passwd: ***"
