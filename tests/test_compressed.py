"""What is compressed is unpacked only where its name says that it is."""

import gzip
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sequifier_hpo.compressed import require_not_compressed
from sequifier_hpo.config.preprocess import load_preprocess_config
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.run import preprocess
from sequifier_hpo.preprocessing.stored_split import describe_split
from sequifier_hpo.stored_tables import scan_windows
from sequifier_hpo.training.checkpoint import DamagedCheckpointError, read_checkpoint

TABLE = ("sequenceId,itemPosition,x\n" + "".join(f"0,{i},{i % 3}\n" for i in range(40))).encode()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (gzip.compress(TABLE), "gzip"),
        *((zlib.compress(TABLE, level), "zlib") for level in (1, 6, 9)),
        (b"\x28\xb5\x2f\xfd\x04", "zstd"),
    ],
    ids=["gzip", "zlib 1", "zlib 6", "zlib 9", "zstd"],
)
def test_compressed_text_is_known_by_how_it_begins(
    tmp_path: Path, content: bytes, kind: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)

    with pytest.raises(InputError, match=rf"t.csv is compressed \({kind}\)"):
        require_not_compressed(path)


@pytest.mark.parametrize("content", [TABLE, b"x,y\n", b"x", b"", b"\xef\xbb\xbfa,b\n"])
def test_text_is_not_taken_for_compressed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)

    require_not_compressed(path)


def preprocess_csv(path: Path) -> object:
    root = path.parent
    file = root / "preprocess.yaml"
    file.write_text(
        f"project_root: {root}\ndata_path: {path}\nread_format: csv\n"
        "split_ratios: [0.8, 0.2]\nseq_length: 2\n"
    )
    return preprocess(load_preprocess_config(file), on_progress=lambda _: None)


@pytest.mark.parametrize(
    "read",
    [
        preprocess_csv,
        lambda path: describe_split(path, "csv"),
        lambda path: scan_windows(path, "csv"),
    ],
)
def test_no_reader_of_tables_unpacks_one_unasked(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(gzip.compress(TABLE))

    with pytest.raises(InputError, match="is compressed"):
        read(path)


def test_a_table_that_is_called_compressed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(TABLE))

    assert preprocess_csv(path)


def test_a_checkpoint_that_somebody_compressed_is_not_unpacked(tmp_path: Path) -> None:
    whole, packed = tmp_path / "a.pt", tmp_path / "b.pt"
    torch.save({"zeros": torch.zeros(10_000)}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(packed, "w") as target:
        for record in source.infolist():
            target.writestr(record.filename, source.read(record), zipfile.ZIP_DEFLATED)

    with pytest.raises(DamagedCheckpointError, match="its numbers are compressed"):
        read_checkpoint(packed)
