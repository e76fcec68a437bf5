"""Make the digits that ship with sparring: ``python tools/make_digits.py --data-root FOLDER_WITH_MNIST``.

10,000 training digits are drawn without replacement from MNIST's 60,000 training images and 2,000 held-out digits
from its 10,000 test images, by a fixed seed, classes as they fall. The indices are recorded in the file. The same
zlib gives the same bytes every time: no time stamps, entries in a fixed order.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from sparring.data import open_data

SEED = 20140610  # the year, month and day of arXiv:1406.2661
COUNTS = {"train": 10_000, "test": 2_000}
TARGET = Path(__file__).parents[1] / "src" / "sparring" / "data" / "embedded" / "digits.npz"


def draw(data_root: str) -> dict[str, np.ndarray]:
    """Return images uint8 [n, 28, 28], labels uint8 [n] and indices int32 [n] (ascending) of both parts."""
    mnist = open_data("mnist", data_root=data_root)
    assert mnist.held_out is not None
    arrays = {}
    for part, data in (("train", mnist), ("test", mnist.held_out)):
        generator = np.random.Generator(np.random.PCG64([SEED, len(data)]))
        indices = np.sort(generator.choice(len(data), COUNTS[part], replace=False))
        arrays[f"{part}_images"] = data.samples[indices, 0]
        arrays[f"{part}_labels"] = data.labels[indices].astype(np.uint8)
        arrays[f"{part}_indices"] = indices.astype(np.int32)
    return arrays


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    """Return the .npz file's bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(arrays):
            entry = io.BytesIO()
            np.lib.format.write_array(entry, arrays[name], allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # the default differs between Windows and the rest
            info.external_attr = 0o644 << 16
            archive.writestr(info, entry.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="folder that holds mnist/*.gz")
    parser.add_argument("--target", type=Path, default=TARGET, help="the file to write (default: %(default)s)")
    arguments = parser.parse_args()
    content = pack(draw(arguments.data_root))
    arguments.target.write_bytes(content)
    print(f"{arguments.target}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
