"""The development kits: the real ones to the letter, and damaged ones in one line."""

import lookalikes
import pytest
from lookalikes import pictures

from alexnet.data.devkit import find_devkits, read_devkit, read_labels
from alexnet.errors import UserError


@pytest.mark.parametrize(
    ("year", "first", "line", "same_words"),
    [
        (2010, ("n07711080", "n07711569", "n07767549"), (78, 854, 435, 541, 973), "cannon"),
        (2012, ("n02119789", "n02100735", "n02110185"), (490, 361, 171, 822, 297), "crane"),
    ],
)
def test_the_real_kits(shared_data, year, first, line, same_words):
    kit = read_devkit(shared_data / f"ilsvrc{year}-devkit")
    assert kit.year == year
    assert len(kit.wnids) == len(kit.words) == len(set(kit.wnids)) == 1000
    assert kit.wnids[:3] == first
    assert len(kit.validation) == 50_000
    assert (kit.validation[:5] + 1).tolist() == list(line)
    in_sorted_place = sum(a == b for a, b in zip(kit.wnids, sorted(kit.wnids), strict=True))
    assert in_sorted_place == {2010: 1, 2012: 0}[year]
    assert kit.words.count(same_words) == 2
    assert len(set(kit.names)) == 1000
    assert [n for n in kit.names if n.startswith(f"{same_words} (")] == [
        f"{same_words} ({wnid})"
        for wnid, words in zip(kit.wnids, kit.words, strict=True)
        if words == same_words
    ]


def test_the_numbers_of_imagenettes_classes(shared_data):
    kit = read_devkit(shared_data / "ilsvrc2010-devkit")
    numbers = {"n02979186": 762, "n03000684": 566, "n03028079": 837, "n03394916": 515}
    numbers |= {"n03417042": 682, "n03425413": 582, "n03445777": 732, "n03888257": 770}
    assert {wnid: kit.wnids.index(wnid) + 1 for wnid in numbers} == numbers


@pytest.mark.parametrize("year", [2010, 2012])
def test_archive_and_folder_say_the_same(tmp_path, year):
    for name, unpacked in (("archive", False), ("folder", True)):
        (tmp_path / name).mkdir()
        lookalikes.write_kit(tmp_path / name, pictures(year), unpacked)
    kits = [read_devkit(*find_devkits(tmp_path / name)) for name in ("archive", "folder")]
    assert kits[0].wnids == kits[1].wnids == lookalikes.WNIDS
    assert kits[0].validation.tolist() == kits[1].validation.tolist()


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("data/meta.mat", None, "has no data/meta.mat"),
        ("data/meta.mat", b"not MATLAB", "meta.mat is damaged"),
        ("data/ILSVRC2010_validation_ground_truth.txt", None, "has no data/ILSVRC2010_valid"),
        ("data/ILSVRC2010_validation_ground_truth.txt", b"1\n5\n", "line 2: '5' is no class num"),
        ("data/ILSVRC2010_validation_ground_truth.txt", b"0\n", "line 1: '0' is no class number"),
        ("data/ILSVRC2010_validation_ground_truth.txt", b"1\nx\n", "line 2: 'x' is no class num"),
    ],
)
def test_damaged_kits_are_one_line(tmp_path, name, content, complaint):
    files = lookalikes.kit_files(pictures(2010))
    del files[name]
    kit = lookalikes.write_files(tmp_path, files if content is None else {**files, name: content})
    with pytest.raises(UserError, match=complaint) as caught:
        read_devkit(kit)
    assert "\n" not in str(caught.value)


def test_a_kit_that_is_no_archive(tmp_path):
    (tmp_path / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(b"<html>please log in</html>")
    with pytest.raises(UserError, match="cannot read"):
        read_devkit(*find_devkits(tmp_path))


def test_windows_line_ends_and_a_missing_last_one():
    assert read_labels(b"3\r\n1\r\n2", "x", 3).tolist() == [2, 0, 1]
