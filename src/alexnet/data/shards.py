"""Arrow IPC files of encoded images, one stream of record batches each.

The columns are those by which the Hugging Face `datasets` library knows images, and so is the
metadata: `datasets.Dataset.from_file` opens a shard, as any reader of Arrow does.
"""

import hashlib
import json
import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_BATCH_BYTES = 1 << 28  # of raw pixels; Arrow's offsets reach to 2^31
_BATCH_ROWS = 512


@dataclass(frozen=True)
class Record:
    """A row of a shard."""

    encoded: bytes
    key: str
    label: int


@dataclass(frozen=True)
class Shard:
    """What is known of a written shard."""

    file: str  # its name, "train-00000-of-00157.arrow"
    images: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class OpenShard:
    """A shard in mapped memory."""

    memory: mmap.mmap
    starts: npt.NDArray[np.int64]  # (N,), where in the file each image begins
    lengths: npt.NDArray[np.int64]  # (N,) bytes
    labels: npt.NDArray[np.int64]  # (N,)
    keys: Any  # a pyarrow.ChunkedArray of N strings


def write_shard(path: Path, name: str, records: Iterator[Record], layout: "Layout") -> Shard:
    """Write records to `path`, which will be called `name`; the same records, the same bytes."""
    import pyarrow as pa

    schema = layout.schema()
    images = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        while batch := list(islice(records, layout.batch_rows)):
            writer.write_batch(_record_batch(batch, schema))
            images += len(batch)
    with path.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return Shard(name, images, path.stat().st_size, digest)


def open_shard(path: Path) -> OpenShard:
    """Map a shard into memory; images are not read.

    Raises:
        ValueError: it is no shard.
        OSError: it cannot be read.
    """
    import pyarrow as pa

    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    whole = pa.py_buffer(memory)
    try:
        table = pa.ipc.open_stream(whole).read_all()
        starts, lengths = [], []
        for chunk in table.column("image").chunks:
            encoded = chunk.field("bytes")
            _, offsets, content = encoded.buffers()
            places = np.frombuffer(offsets, np.int32)[encoded.offset :][: len(encoded) + 1]
            starts.append(places[:-1].astype(np.int64) + (content.address - whole.address))
            lengths.append(np.diff(places).astype(np.int64))
        return OpenShard(
            memory,
            _concatenated(starts),
            _concatenated(lengths),
            table.column("label").to_numpy().astype(np.int64),
            pa.chunked_array(
                [chunk.field("path") for chunk in table.column("image").chunks], pa.string()
            ),
        )
    except (pa.ArrowException, KeyError) as error:
        raise ValueError(str(error).partition("\n")[0]) from error


@dataclass(frozen=True)
class Layout:
    """What the shards of a set have in common."""

    classes: Sequence[str]
    size: int  # pixels along each side of the images

    @property
    def batch_rows(self) -> int:
        """Images in a record batch; a reader gets the whole batch into its address space."""
        return max(1, min(_BATCH_ROWS, _BATCH_BYTES // (self.size * self.size * 3)))

    def schema(self) -> Any:
        """Columns and metadata."""
        import pyarrow as pa

        features = {
            "image": {"_type": "Image"},
            "label": {"names": list(self.classes), "_type": "ClassLabel"},
        }
        image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        return pa.schema(
            [("image", image), ("label", pa.int64())],
            metadata={"huggingface": json.dumps({"info": {"features": features}})},
        )


def _record_batch(records: Sequence[Record], schema: Any) -> Any:
    import pyarrow as pa

    image = pa.StructArray.from_arrays(
        [
            _binary_array([record.encoded for record in records]),
            pa.array([record.key for record in records], pa.string()),
        ],
        fields=list(schema.field("image").type),
    )
    labels = pa.array([record.label for record in records], pa.int64())
    return pa.RecordBatch.from_arrays([image, labels], schema=schema)


def _binary_array(values: Sequence[bytes]) -> Any:
    """As `pyarrow.array(values, pyarrow.binary())`, which takes four times as long."""
    import pyarrow as pa

    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    return pa.BinaryArray.from_buffers(pa.binary(), len(values), buffers)


def _concatenated(parts: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.empty(0, np.int64), *parts])
