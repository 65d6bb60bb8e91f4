"""CSV lists: columns, splits, and what is refused."""

from pathlib import Path

import lookalikes
import pytest

from alexnet.data.lists import open_list
from alexnet.data.sources import Source, Split, open_source
from alexnet.errors import UserError


def write(folder: Path, text: str, name: str = "list.csv", images: str = "abcdefgh") -> Path:
    """A list, beside files a.jpg, b.jpg … whose content is their name."""
    lookalikes.write_files(folder, {f"{letter}.jpg": letter.encode() for letter in images})
    (folder / name).write_text(text)
    return folder / name


def labelled(source: Source, split: Split) -> dict[str, str]:
    return {key: source.classes[label] for key, label in zip(split.keys, split.labels, strict=True)}


def test_splits_by_column(tmp_path):
    path = write(
        tmp_path,
        "split,path,label\ntrain,a.jpg,dog\ntrain,b.jpg,cat\nVal,c.jpg,cat\ntest,d.jpg,dog\n",
    )
    source = open_source(str(path))
    assert (source.kind, source.name, source.classes) == ("csv", "list", ("cat", "dog"))
    assert labelled(source, source.train) == {"a.jpg": "dog", "b.jpg": "cat"}
    assert labelled(source, source.validation) == {"c.jpg": "cat"}
    assert source.test is not None
    assert labelled(source, source.test) == {"d.jpg": "dog"}
    assert source.train.read(1) == b"b"


def test_without_header_and_splits_the_contents_decide(tmp_path):
    rows = "".join(f"{letter}.jpg,{i % 2}\n" for i, letter in enumerate("abcdefgh"))
    source = open_list(write(tmp_path, rows), validation_fraction=0.3)
    assert {**labelled(source, source.train), **labelled(source, source.validation)} == {
        f"{letter}.jpg": str(i % 2) for i, letter in enumerate("abcdefgh")
    }
    assert len(source.validation) > 0
    again = open_list(write(tmp_path, rows), validation_fraction=0.3)
    assert list(again.validation.keys) == list(source.validation.keys)


def test_numbers_are_sorted_as_numbers(tmp_path):
    path = write(tmp_path, "a.jpg,10,train\nb.jpg,9,train\nc.jpg,2,val\n")
    assert open_list(path).classes == ("2", "9", "10")
    path = write(tmp_path, "a.jpg,1,train\nb.jpg,01,train\nc.jpg,1,val\n")
    assert open_list(path).classes == ("01", "1")  # whatever the order in a set of strings


def test_test_images_without_a_label_are_left_out(tmp_path):
    lines = "a.jpg,10,train\nb.jpg,9,train\nc.jpg,9,val\nd.jpg,,test\ne.jpg, ,test\n"
    source = open_list(write(tmp_path, lines))
    assert (source.classes, source.test) == (("9", "10"), None)
    assert source.notes == ("2 test images have no label and are left out",)


def test_paths_may_be_absolute(tmp_path):
    rows = f"{tmp_path}/a.jpg,x,train\nb.jpg,y,train\n{tmp_path}/c.jpg,x,val\n"
    source = open_list(write(tmp_path, rows))
    assert source.train.read(0) == b"a"
    assert source.train.read(1) == b"b"


def test_tabs_quotes_and_a_byte_order_mark(tmp_path):
    path = write(tmp_path, "\ufeffpath\tlabel\tsplit\na.jpg\tx\ttrain\nb.jpg\ty\tval\n", "l.tsv")
    assert open_list(path).classes == ("x", "y")
    path = write(tmp_path, 'a.jpg,"kit fox, Vulpes",train\nb.jpg,y,val\n')
    assert open_list(path).classes == ("kit fox, Vulpes", "y")


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_other_encodings_are_named_with_what_to_do(tmp_path, encoding):
    path = write(tmp_path, "")
    path.write_bytes("path,label\na.jpg,Äpfel\nb.jpg,y\n".encode(encoding))
    with pytest.raises(UserError, match=r"is not UTF-8; save it as UTF-8 CSV$"):
        open_list(path)


def test_backslashes_part_folders_unless_a_file_is_called_so(tmp_path):
    lookalikes.write_files(tmp_path, {"in/a.jpg": b"a", "in\\b.jpg": b"b", "in/b.jpg": b"other"})
    path = write(tmp_path, "in\\a.jpg,x,train\nin\\b.jpg,y,train\nc.jpg,y,val\n")
    source = open_list(path)
    assert list(source.train.keys) == ["in/a.jpg", "in\\b.jpg"]
    assert [source.train.read(i) for i in range(2)] == [b"a", b"b"]


def test_a_test_split_serves_where_there_is_no_other(tmp_path):
    source = open_list(write(tmp_path, "a.jpg,x,train\nb.jpg,y,train\nc.jpg,y,test\n"))
    assert list(source.validation.keys) == ["c.jpg"]
    assert source.test is None
    assert source.notes


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is no list of images"),
        ("path,label\n", "is no list of images"),
        ("a,b,c,d\n1,2,3,4\n", "is no list of images"),
        ("path,b,c,d\na.jpg,2,3,4\n", "is no list of images"),
        ("path;label\na.jpg;x\nb.jpg;y, z\n", "is separated by semicolons; save it with commas"),
        ("filename,label\na.jpg,x\n", r"line 1 of .*'filename'.*header, it must be path,label"),
        ("a.jpg,x\nb.jpg\n", r"line 2 of .* has not 2 columns"),
        ("path,label\n\nzz.jpg,y\n", r"line 3 of .* lists 'zz.jpg', which is not in [^;]*$"),
        (f"a.jpg,x\n{'z' * 300}.jpg,y\n", r"line 2 of .* lists 'zzz"),
        ("a.jpg,x\na.jpg,y\n", "lists an image twice, 'a.jpg' in the lines 1 and 2"),
        ("a.jpg,x,train\nb.jpg,y,dev\n", r"line 2 of .*: 'dev' is no split"),
        ("a.jpg,x,val\nb.jpg,y,val\n", "lists no training images"),
        ("a.jpg,x,train\nb.jpg,x,val\n", "lists one class only"),
        ("a.jpg,x,train\nb.jpg,,val\nc.jpg,y,train\n", r"line 2 of .* has no label for 'b.jpg'"),
        ("a.jpg,x\nb.jpg,\nc.jpg,y\n", "has no label for 'b.jpg'"),
    ],
)
def test_what_is_refused(tmp_path, text, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        open_list(write(tmp_path, text))
    assert "\n" not in str(caught.value)
