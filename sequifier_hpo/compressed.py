"""Tables that are compressed: polars unpacks them unasked, whatever size that makes them."""

from pathlib import Path

from sequifier_hpo.errors import InputError

_BEGINNINGS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    **dict.fromkeys((b"x\x01", b"x\x9c", b"x\xda"), "zlib"),
}
"""How the files begin that polars unpacks."""
_SUFFIXES = frozenset({".gz", ".zst", ".zz"})


def require_not_compressed(path: Path) -> None:
    """Make sure that a CSV file is the text that its name says it is.

    One that is called `.csv.gz` is meant to be unpacked.

    Raises:
        InputError: If it is compressed.
        OSError: If it cannot be read.
    """
    if path.suffix in _SUFFIXES or not path.is_file():
        return
    with path.open("rb") as file:
        beginning = file.read(max(map(len, _BEGINNINGS)))
    for signature, name in _BEGINNINGS.items():
        if beginning.startswith(signature):
            raise InputError(
                f"{path} is compressed ({name}), which its name does not say: a small file may "
                "become gigabytes",
                "unpack it, or give it a name that ends in .csv.gz, .csv.zst or .csv.zz",
            )
