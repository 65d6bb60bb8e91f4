"""Preparing that is killed, interrupted or out of space goes on as if nothing had been."""

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import lookalikes
import numpy as np
import pytest

from alexnet.data import prepare as prepare_module
from alexnet.data.prepare import prepare
from alexnet.data.sources import Source, open_source
from alexnet.errors import UserError

IMAGES = 96
SHARD = 12
SHARDS = 8  # seven for training
BROKEN = 17  # "train/1/017.jpg", the 26th training image
OPTIONS = {"size": 64, "workers": 1, "shard_images": SHARD}
# SIGINT would be ignored in all that a background job of a shell starts, tests among them.
SCRIPT = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from alexnet.data.prepare import prepare
from alexnet.errors import UserError
try:
    print(json.dumps(prepare(sys.argv[1], sys.argv[2], **json.loads(sys.argv[3]))))
except UserError as error:
    sys.exit(f"UserError: {error}")
"""


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def command(source: Path, out: Path, **options: object) -> list[str]:
    return [
        *(sys.executable, "-c", SCRIPT),
        *(str(source), str(out), json.dumps({**OPTIONS, **options})),
    ]


def shards_made(out: Path) -> int:
    return len(list(out.glob(".prepare/*-*.json")))


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def wait_for(condition: Callable[[], object], process: "subprocess.Popen[bytes]") -> None:
    """Wait until something is so, or the process has ended."""
    wait_until(lambda: process.poll() is not None or condition())


def make_source(folder: Path, width: int, height: int) -> Path:
    """A folder of pictures, one of them broken; validation images make the last shard."""
    contents = [lookalikes.jpeg(lookalikes.draw(i, 0, width, height)) for i in range(4)]
    for index in range(IMAGES):
        split = "val" if index >= IMAGES - SHARD else "train"
        content = contents[index % 4][: 500 if index == BROKEN else None]
        lookalikes.write_files(folder, {f"{split}/{index % 4}/{index:03d}.jpg": content})
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return make_source(tmp_path_factory.mktemp("source"), 40, 30)


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "set"
    prepare(source, out, **OPTIONS)
    return files(out)


@pytest.fixture(scope="module")
def slow_source(tmp_path_factory) -> Path:
    """Of images so large that a shard takes a while, also where the tests wait for a core."""
    return make_source(tmp_path_factory.mktemp("slow"), 2400, 1650)


@pytest.fixture(scope="module")
def slow_undisturbed(slow_source, tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("slow_undisturbed") / "set"
    prepare(slow_source, out, **OPTIONS)
    return files(out)


def children(process: "subprocess.Popen[bytes]") -> list[int]:
    task = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in task.read_text().split()]


def is_running(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at /proc")
def test_killed_at_any_moment(slow_source, slow_undisturbed, tmp_path):
    """No image is lost or there twice, nothing half-written stays, and no worker outlives us."""
    out, moments = tmp_path / "set", random.Random(7)
    for made in (0, 1, 3, 4):
        process = subprocess.Popen(
            command(slow_source, out, workers=2), stderr=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        wait_for(lambda made=made: shards_made(out) >= made, process)
        wait_for(partial(children, process), process)
        workers = children(process)
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it was faster than the test"
        process.stdout.close()
        assert made <= shards_made(out) < SHARDS
        assert not (out / "manifest.json").exists()
        wait_until(lambda workers=workers: not any(map(is_running, workers)))
    with pytest.raises(UserError, match="is not finished; run `alexnet prepare` again"):
        open_source(str(out))
    assert prepare(slow_source, out, **OPTIONS)["images"] == IMAGES - 1
    assert files(out) == slow_undisturbed


def test_finished_shards_are_not_made_again(source, undisturbed, tmp_path, monkeypatch):
    out = tmp_path / "set"
    prepare_until(source, out, monkeypatch, 3 * SHARD)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.arrow")}
    assert len(before) == 3
    prepare(source, out, **OPTIONS)
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.arrow")}
    assert {name: after[name] for name in before} == before
    assert files(out) == undisturbed


def prepare_until(source: Path, out: Path, monkeypatch, stop: int) -> str:
    """Prepare a source whose training images from `stop` on have vanished; what is said then."""

    def opened(*arguments: object, **named: object) -> Source:
        whole = open_source(*arguments, **named)

        def read(i: int) -> bytes:
            if i >= stop:
                raise FileNotFoundError(2, "No such file or directory")
            return whole.train.read(i)

        return replace(whole, train=replace(whole.train, read=read))

    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "open_source", opened)
        with pytest.raises(UserError) as caught:
            prepare(source, out, **OPTIONS)
    return str(caught.value)


def test_a_source_that_vanishes_is_one_line(source, undisturbed, tmp_path, monkeypatch):
    said = prepare_until(source, tmp_path / "set", monkeypatch, 40)
    assert "\n" not in said
    assert open_source(str(source)).train.keys[40] in said
    assert "No such file or directory" in said
    assert "run the same command again" in said
    prepare(source, tmp_path / "set", **OPTIONS)
    assert files(tmp_path / "set") == undisturbed


def test_an_image_that_may_not_be_read_is_listed(source, tmp_path, monkeypatch):
    """Root may read everything, so the refusal is played."""

    def opened(*arguments: object, **named: object) -> Source:
        whole = open_source(*arguments, **named)

        def read(i: int) -> bytes:
            if i in (3, 4, 30):
                raise PermissionError(13, "Permission denied")
            return whole.train.read(i)

        return replace(whole, train=replace(whole.train, read=read))

    monkeypatch.setattr(prepare_module, "open_source", opened)
    result = prepare(source, tmp_path / "set", **OPTIONS)
    keys = open_source(str(source)).train.keys
    assert [entry["key"] for entry in result["skipped"] if "denied" in entry["reason"]] == [
        keys[i] for i in (3, 4, 30)
    ]
    kept = open_source(str(tmp_path / "set")).train
    broken = next(key for key in keys if key.endswith("017.jpg"))
    assert list(kept.keys) == [
        key for i, key in enumerate(keys) if i not in (3, 4, 30) and key != broken
    ]


@pytest.mark.parametrize("limit", [5_000, 60_000])
def test_a_full_disk_is_one_line(source, undisturbed, tmp_path, limit):
    """A limit on file sizes stands for it: for the shards, or for the statistics beside them."""
    stopped = subprocess.run(
        command(source, tmp_path / "set"),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    said = [line for line in stopped.stderr.splitlines() if line.startswith("UserError")]
    assert stopped.returncode == 1
    assert len(said) == 1
    assert "cannot write" in said[0]
    assert "Traceback" not in stopped.stderr
    assert not list((tmp_path / "set").rglob("*.part"))
    prepare(source, tmp_path / "set", **OPTIONS)
    assert files(tmp_path / "set") == undisturbed


def test_interrupted_from_the_keyboard(slow_source, slow_undisturbed, tmp_path):
    process = subprocess.Popen(command(slow_source, tmp_path / "set"), stderr=subprocess.PIPE)
    wait_for(lambda: shards_made(tmp_path / "set") >= 2, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert said.decode().rstrip().endswith("KeyboardInterrupt")
    assert not list((tmp_path / "set").rglob("*.part"))
    prepare(slow_source, tmp_path / "set", **OPTIONS)
    assert files(tmp_path / "set") == slow_undisturbed


def test_a_worker_that_dies_is_one_line(slow_source, slow_undisturbed, tmp_path):
    line = command(slow_source, tmp_path / "set", workers=2)  # of which one is the process itself
    process = subprocess.Popen(line, stderr=subprocess.PIPE)
    wait_for(lambda: shards_made(tmp_path / "set") >= 1, process)
    for worker in children(process):
        os.kill(worker, signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "UserError: a worker process died" in said.decode()
    prepare(slow_source, tmp_path / "set", **OPTIONS)
    assert files(tmp_path / "set") == slow_undisturbed


def test_a_finished_set_is_left_as_it_is(source, undisturbed, tmp_path):
    first = prepare(source, tmp_path / "set", **OPTIONS)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir()}
    again = prepare(source, tmp_path / "set", **{**OPTIONS, "workers": 1})
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir()} == times
    assert again == {**first, "images_per_second": 0.0}


@pytest.fixture(scope="module", params=["begun", "finished"])
def made_set(request, source, tmp_path_factory) -> Path:
    """A set that tests leave as it is: refusing changes nothing."""
    out = tmp_path_factory.mktemp("made") / "set"
    if request.param == "finished":
        prepare(source, out, **OPTIONS)
    else:
        prepare_until(source, out, pytest.MonkeyPatch(), 40)
    return out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": 32}, "was made with size=64, not 32"),
        ({"quality": 90}, "was made with quality=95, not 90"),
        ({"encoding": "raw"}, "was made with encoding=jpeg, not raw"),
        ({"shard_images": 20}, "was made with shard_images=12, not 20"),
    ],
)
def test_other_options_are_refused(source, made_set, change, said):
    before = files(made_set)
    with pytest.raises(UserError, match=said) as caught:
        prepare(source, made_set, **{**OPTIONS, **change})
    assert "\n" not in str(caught.value)
    assert files(made_set) == before


def add(folder: Path) -> None:
    shutil.copyfile(folder / "train/0/000.jpg", folder / "train/0/a.jpg")


def replace_one(folder: Path) -> None:
    (folder / "train/0/000.jpg").write_bytes(lookalikes.jpeg(lookalikes.draw(0, 99)))


def relabel(folder: Path) -> None:
    (folder / "train/0/000.jpg").rename(folder / "train/1/000.jpg")


def edit(folder: Path) -> None:
    """Another picture in as many bytes."""
    path = folder / "train/0/000.jpg"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("change", [add, replace_one, relabel, edit])
def test_other_images_are_refused(source, made_set, tmp_path, change):
    own = shutil.copytree(source, tmp_path / "source")
    change(own)
    with pytest.raises(UserError, match="was made from other images than these"):
        prepare(own, made_set, **OPTIONS)


@pytest.mark.parametrize(
    "write", [lookalikes.write_tree, lookalikes.write_kaggle, lookalikes.write_half_unpacked]
)
def test_other_contents_of_an_unpacked_tree_are_refused(tmp_path, write):
    year = 2012 if write is lookalikes.write_kaggle else 2010
    tree = write(tmp_path / "source", lookalikes.pictures(year))
    lookalikes.write_files(tree / "patch_images" / "val", {"of_none.JPEG": b"another picture"})
    prepare(tree, tmp_path / "set", **OPTIONS)
    files = [*tree.rglob("*.JPEG"), *tree.rglob("n*.tar")]
    for path in {path.parent: path for path in sorted(files)}.values():
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(UserError, match="was made from other images than these"):
            prepare(tree, tmp_path / "set", **OPTIONS)
        path.write_bytes(content)
    prepare(tree, tmp_path / "set", **OPTIONS)


def test_a_source_may_move(source, undisturbed, tmp_path, monkeypatch):
    own = shutil.copytree(source, tmp_path / source.name)
    prepare_until(own, tmp_path / "set", monkeypatch, 40)
    (tmp_path / "elsewhere").mkdir()
    own.rename(tmp_path / "elsewhere" / source.name)
    prepare(tmp_path / "elsewhere" / source.name, tmp_path / "set", **OPTIONS)
    assert files(tmp_path / "set") == undisturbed


def test_strict_minds_what_was_skipped_before(source, tmp_path, monkeypatch):
    prepare_until(source, tmp_path / "set", monkeypatch, 40)
    with pytest.raises(UserError, match=r"017\.jpg: truncated"):
        prepare(source, tmp_path / "set", **OPTIONS, strict=True)


def test_two_at_once_are_refused(slow_source, tmp_path):
    process = subprocess.Popen(command(slow_source, tmp_path / "set"), stderr=subprocess.DEVNULL)
    wait_for(lambda: shards_made(tmp_path / "set") >= 1, process)
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(UserError, match="another process is preparing"):
            prepare(slow_source, tmp_path / "set", **OPTIONS)
    finally:
        process.kill()
        process.wait()


def test_a_shard_that_lost_its_end_is_made_again(source, undisturbed, tmp_path, monkeypatch):
    prepare_until(source, tmp_path / "set", monkeypatch, 40)
    shard = min((tmp_path / "set").glob("*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1000])
    prepare(source, tmp_path / "set", **OPTIONS)
    assert files(tmp_path / "set") == undisturbed


@pytest.mark.parametrize("name", ["plan.json", "train-00000.json"])
def test_a_damaged_record_is_named(source, undisturbed, tmp_path, monkeypatch, name):
    prepare_until(source, tmp_path / "set", monkeypatch, 40)
    record = tmp_path / "set" / ".prepare" / name
    whole = record.read_bytes()
    record.write_bytes(whole[:-20])
    with pytest.raises(UserError, match=f"{name} is damaged .*restore it or delete it"):
        prepare(source, tmp_path / "set", **OPTIONS)
    record.write_bytes(whole)
    prepare(source, tmp_path / "set", **OPTIONS)
    assert files(tmp_path / "set") == undisturbed


def test_labels_and_order_survive(source, tmp_path):
    prepare(source, tmp_path / "set", **OPTIONS)
    opened, again = open_source(str(source)), open_source(str(tmp_path / "set"))
    kept = [i for i, key in enumerate(opened.train.keys) if not key.endswith("017.jpg")]
    assert list(again.train.keys) == [opened.train.keys[i] for i in kept]
    np.testing.assert_array_equal(again.train.labels, opened.train.labels[kept])


def test_a_set_that_has_the_name_of_its_source_is_the_same_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*things: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    make = partial(prepare, "digits", size=8, encoding="raw", workers=1)
    make("other")
    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "make_shards", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make("digits")
    make("digits")
    assert Path("digits", "manifest.json").read_bytes() == Path("other/manifest.json").read_bytes()
