"""Decoding awkward files, and the square that is cut out of them."""

import gzip
import os
import random
import re
import struct
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from alexnet.data import images
from alexnet.data.images import MAX_PIXELS, BadImage, decode, encode_png, load_square
from alexnet.data.squaring import square

SHARED = Path(__file__).parents[3] / "shared" / "data" / "awkward"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="shared/data/awkward is not here")

# File → (width, height, mean red, green, blue), or the reason it is refused. The means of the JPEG
# files (but for the one with junk) are those of another decoder, simplejpeg.
AWKWARD = {
    "arithmetic-coded.jpg": (227, 149, 146, 90, 81),
    "bomb-20000x14000.jpg": "20000x14000 pixels is over the limit of 100 megapixels",
    "claims-65535x65535.jpg": "65535x65535 pixels is over the limit of 100 megapixels",
    "cmyk.jpg": (100, 100, 30, 5, 7),
    "corrupt-header.jpg": "truncated",
    "empty.jpg": "empty file",
    "exif-orientation-5.jpg": (128, 128, 90, 80, 95),
    "exif-orientation-6.jpg": (450, 600, 84, 82, 72),
    "gray.jpg": (400, 267, 39, 39, 39),
    "junk-before-header.jpg": (1024, 768, 117, 116, 117),
    "one-pixel.jpg": (1, 1, 127, 127, 39),
    "png-named-jpg.jpg": (6, 6, 127, 127, 44),
    "progressive.jpg": (320, 240, 137, 143, 128),
    "sixteen-bit.tif": (32, 32, 1, 1, 1),
    "text-named-jpg.jpg": "not an image",
    "truncated-large.jpg": "truncated",
    "truncated-small.jpg": "truncated",
}


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(width: int = 45, height: int = 33, seed: int = 0) -> Image.Image:
    """A smooth random picture with detail at several scales."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for scale in (2, 4, 8, 16, 32, 64, 128):
        noise = rng.integers(0, 256, (height // scale + 2, width // scale + 2, 3), dtype=np.uint8)
        layer = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(layer) * float(scale) ** 0.8
    low, high = total.min(), total.max()
    return Image.fromarray(((total - low) * 255 / (high - low)).astype(np.uint8))


def outcome(content: bytes, **options: int) -> bytes | str:
    """The pixels, or the reason why there are none."""
    try:
        return decode(content, **options).tobytes()
    except BadImage as error:
        return str(error)


FILES = {
    "jpeg": encoded(photo()),
    "progressive": encoded(photo(), progressive=True),
    "png": encoded(photo(), "PNG"),
    "palette": encoded(photo().quantize(64), "PNG"),
    "gif": encoded(photo(), "GIF"),
    "bmp": encoded(photo(), "BMP"),
    "tiff": encoded(photo(), "TIFF"),
    "deflated tiff": encoded(photo(), "TIFF", compression="tiff_adobe_deflate"),
    "webp": encoded(photo(), "WEBP", lossless=True),
    "ppm": encoded(photo(), "PPM"),
}


@needs_shared
def test_the_table_names_every_awkward_file():
    assert {path.name for path in SHARED.iterdir()} == set(AWKWARD)


@needs_shared
@pytest.mark.parametrize("name", sorted(AWKWARD))
def test_awkward_files_are_decoded_right_or_refused_with_a_reason(name):
    content = (SHARED / name).read_bytes()
    expected = AWKWARD[name]
    if isinstance(expected, str):
        with pytest.raises(BadImage, match=f"^{re.escape(expected)}$"):
            decode(content)
        return
    image = decode(content)
    assert image.mode == "RGB"
    assert image.size == expected[:2]
    np.testing.assert_allclose(np.asarray(image).mean(axis=(0, 1)), expected[2:], atol=1.5)
    assert load_square(content, 32).shape == (32, 32, 3)


@needs_shared
def test_threads_decode_the_awkward_files_alike_and_leave_pillow_as_it_was():
    contents = [path.read_bytes() for path in sorted(SHARED.iterdir())] * 6

    alone = [outcome(content) for content in contents]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(outcome, contents))
    assert together == alone
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert Image.MAX_IMAGE_PIXELS is not None


@needs_shared
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory as Linux reports it")
def test_bombs_are_refused_within_bounded_memory():
    script = """
        import resource, sys
        from pathlib import Path
        from alexnet.data.images import BadImage, decode

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        decode(Path(sys.argv[1], "progressive.jpg").read_bytes())
        before = peak()
        for name in ("bomb-20000x14000.jpg", "claims-65535x65535.jpg"):
            try:
                decode(Path(sys.argv[1], name).read_bytes())
            except BadImage:
                print("refused")
        print(peak() - before)
    """
    printed = run_python(script, str(SHARED)).split()
    assert printed[:2] == ["refused", "refused"]
    assert int(printed[2]) < 16 * 1024  # KiB; decoded, the smaller one takes 280 MB


def run_python(script: str, *arguments: str) -> str:
    """Standard output of a script run with warnings as errors; its standard error must be empty."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("kind", sorted(FILES))
def test_every_beginning_of_a_file_is_refused_or_the_whole_picture(kind):
    content = FILES[kind]
    whole = decode(content).tobytes()
    outcomes = [outcome(content[:end]) for end in range(len(content))]
    reasons = [out for out in outcomes if isinstance(out, str)]
    assert all(out == whole for out in outcomes if isinstance(out, bytes))
    assert len(reasons) > 0.95 * len(content)
    assert not any("\n" in reason for reason in reasons)


@pytest.mark.parametrize("kind", sorted(FILES))
def test_damaged_files_raise_nothing_but_bad_image(kind):
    rng = random.Random(kind)
    content = FILES[kind]
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(rng.choice([1, 2, 20])):
            near_the_header = rng.random() < 0.5
            place = rng.randrange(min(200, len(content)) if near_the_header else len(content))
            damaged[place] = rng.choice([0, 255, rng.randrange(256)])
        out = outcome(bytes(damaged), max_pixels=10**6)  # anything else raised is a failure
        assert isinstance(out, bytes) or re.fullmatch(".+", out)


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff", "deflated tiff", "webp", "ppm"])
def test_lossless_formats_give_the_very_pixels(kind):
    np.testing.assert_array_equal(np.asarray(decode(FILES[kind])), np.asarray(photo()))


def test_the_pixel_limit_counts_pixels_and_names_itself():
    content = encoded(photo(40, 50))
    assert decode(content, max_pixels=2000).size == (40, 50)
    with pytest.raises(BadImage, match=r"^40x50 pixels is over the limit of 0\.0019 megapixels$"):
        decode(content, max_pixels=1900)
    assert MAX_PIXELS < 20000 * 14000


def test_sixteen_bits_are_scaled_not_clipped():
    levels = np.arange(0, 65536, 13, dtype=np.uint16)
    levels = np.resize(levels, (71, 71))
    expected = np.round(levels / 257).astype(np.uint8)
    for kind in ("PNG", "TIFF"):
        image = decode(encoded(Image.fromarray(levels), kind))
        np.testing.assert_array_equal(np.asarray(image)[..., 1], expected)
    graymap = b"P5 71 71 65535\n" + levels.astype(">u2").tobytes()
    np.testing.assert_array_equal(np.asarray(decode(graymap))[..., 1], expected)


def test_a_transparent_level_of_sixteen_bits_becomes_white():
    levels = np.array([[0, 257, 1000], [1001, 0, 65535]], dtype=np.uint16)
    for clear, expected in ((0, [255, 1, 4, 4, 255, 255]), (1000, [0, 1, 255, 4, 0, 255])):
        content = encoded(Image.fromarray(levels), "PNG", transparency=clear)
        np.testing.assert_array_equal(np.asarray(decode(content))[..., 0].ravel(), expected)


def test_pixels_without_a_known_range_are_refused():
    floats = Image.fromarray(np.ones((4, 4), dtype=np.float32))
    with pytest.raises(BadImage, match="range is not known"):
        decode(encoded(floats, "TIFF"))


def test_transparency_is_composed_on_white():
    half = Image.new("RGBA", (4, 4), (200, 100, 50, 128))
    over_white = [255 + (c - 255) * 128 / 255 for c in (200, 100, 50)]
    np.testing.assert_allclose(decode(encoded(half, "PNG")).getpixel((1, 1)), over_white, atol=1)

    grey = Image.new("LA", (4, 4), (0, 64))
    np.testing.assert_allclose(decode(encoded(grey, "PNG")).getpixel((1, 1)), [191] * 3, atol=1)

    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    for kind in ("PNG", "GIF"):
        image = decode(encoded(palette, kind, transparency=0))
        assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]

    partly = decode(encoded(palette, "PNG", transparency=bytes([0, 255])))
    assert [partly.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]

    coloured = Image.new("RGB", (2, 1), (1, 2, 3))
    assert decode(encoded(coloured, "PNG", transparency=(1, 2, 3))).getpixel((0, 0)) == (255,) * 3


@pytest.mark.parametrize(
    ("inks", "colour"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 255, 255, 0), (255, 0, 0)),
        ((255, 0, 255, 0), (0, 255, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
    ],
)
def test_inks_become_light(inks, colour):
    content = encoded(Image.new("CMYK", (16, 16), inks), quality=100)
    np.testing.assert_allclose(decode(content).getpixel((8, 8)), colour, atol=3)


def test_grey_and_bilevel_become_rgb():
    grey = decode(encoded(Image.new("L", (8, 8), 77)))
    assert grey.getpixel((3, 3)) == (77, 77, 77)
    assert decode(encoded(Image.new("1", (8, 8), 1), "PNG")).getpixel((3, 3)) == (255, 255, 255)


def test_orientation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to view
    assert decode(encoded(photo(40, 20), exif=exif)).size == (40, 20)


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate"])
def test_orientation_of_tiff_is_ignored(compression):
    stored = photo(40, 20)
    for orientation in range(1, 9):
        turned = encoded(stored, "TIFF", tiffinfo={0x0112: orientation}, compression=compression)
        image = decode(turned)
        assert image.size == (40, 20)
        assert image.tobytes() == stored.tobytes()


def test_an_animation_gives_its_first_picture():
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    for kind in ("GIF", "PNG", "WEBP"):
        content = encoded(first, kind, save_all=True, append_images=[second])
        np.testing.assert_allclose(decode(content).getpixel((4, 4)), (255, 0, 0), atol=2)


def test_junk_before_the_header_is_skipped_where_it_is_short():
    whole = decode(FILES["jpeg"]).tobytes()
    assert decode(b"\r\n" + FILES["jpeg"]).tobytes() == whole
    assert decode(b"#" * 4000 + FILES["jpeg"]).tobytes() == whole
    with pytest.raises(BadImage, match=r"^not an image$"):
        decode(b"#" * 4100 + FILES["jpeg"])


@pytest.mark.parametrize(
    "start",
    [
        b"\0\0\0\x18ftypheic",
        b"\0\0\0\x20ftypavif",
        b"\xff\x0a",
        b"\0\0\0\x0cJXL ",
        b"\0\0\0\x0cjP  ",
    ],
)
def test_formats_that_phones_write_are_called_what_they_are(start):
    """Even with a preview in JPEG near their beginning."""
    with pytest.raises(BadImage, match="not read; export it as JPEG"):
        decode(start + bytes(100) + FILES["jpeg"])


def test_gzipped_members_are_unpacked(monkeypatch):
    packed = gzip.compress(FILES["jpeg"])
    assert decode(packed).tobytes() == decode(FILES["jpeg"]).tobytes()
    with pytest.raises(BadImage, match=r"^truncated$"):
        decode(packed[:-20])
    with pytest.raises(BadImage, match=r"^broken gzip"):
        decode(packed[:10] + b"\xff" * 50)
    monkeypatch.setattr(images, "_MAX_UNZIPPED", 1 << 20)
    with pytest.raises(BadImage, match=r"^more than 1 MiB when unzipped$"):
        decode(gzip.compress(bytes(2 << 20)))


def test_a_file_of_endless_scans_is_refused():
    content = FILES["progressive"]
    last_scan = content[content.rindex(b"\xff\xda") : -2]
    assert decode(content[:-2] + last_scan * 3 + content[-2:]).size == (45, 33)
    with pytest.raises(BadImage, match=r"^more than 100 scans$"):
        decode(content[:-2] + last_scan * 200 + content[-2:])


def test_exactly_a_hundred_scans_are_decoded():
    content = FILES["progressive"]
    last_scan = content[content.rindex(b"\xff\xda") : -2]
    most = content[:-2] + last_scan * (100 - content.count(b"\xff\xda")) + content[-2:]
    assert most.count(b"\xff\xda") == 100
    assert decode(most).size == (45, 33)
    with pytest.raises(BadImage, match=r"^more than 100 scans$"):
        decode(most[:-2] + last_scan + most[-2:])


def test_a_corrupt_exif_block_neither_warns_nor_hurts():
    block = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + struct.pack("<HHLL", 0x010F, 2, 9999, 0x7000) * 2
    content = encoded(photo(), exif=block, dpi=(0, 0))
    content = content.replace(b"JFIF\0", b"JFIX\0")  # without JFIF the resolution is sought there
    with pytest.warns(UserWarning, match="Tag data larger|Corrupt EXIF|Truncated"):
        Image.open(BytesIO(content)).load()
    assert decode(content).size == (45, 33)  # warnings are errors in these tests


def test_a_corrupt_tiff_tag_is_skipped_in_silence(tmp_path):
    content = bytearray(encoded(photo(), "TIFF", description="a rose " * 10))
    entry = content.index(struct.pack("<HH", 270, 2))
    content[entry + 4 : entry + 8] = struct.pack("<L", 10**6)  # more text than there is file
    with pytest.warns(UserWarning, match="larger than file"):
        Image.open(BytesIO(content)).load()
    (tmp_path / "rose.tif").write_bytes(content)
    script = """
        import sys
        from pathlib import Path
        from alexnet.data.images import decode
        print(decode(Path(sys.argv[1]).read_bytes()).size)
    """
    assert run_python(script, os.fspath(tmp_path / "rose.tif")) == "(45, 33)\n"


def test_png_round_trip():
    pixels = np.asarray(photo())
    np.testing.assert_array_equal(np.asarray(decode(encode_png(pixels))), pixels)
    grey = np.asarray(decode(encode_png(pixels[..., 0])))
    np.testing.assert_array_equal(grey, np.repeat(pixels[..., :1], 3, axis=2))


# The square.

sides = st.integers(1, 300)


def geometry(side: int, shorter: int, size: int) -> tuple[int, int]:
    """The resized side and the crop's offset, as the authors' make-data computes them."""
    resized = int(np.floor(size / shorter * side + 0.5))
    return resized, (resized - size) // 2


@settings(max_examples=60, deadline=None, derandomize=True)
@given(sides, sides, st.integers(1, 64))
def test_square_is_the_centre_of_the_resized_picture(width, height, size):
    image = photo(width, height, seed=width * 1000 + height)
    pixels = square(image, size)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable  # torch wants to own what it is given
    shorter = min(width, height)
    (across, left), (down, top) = (geometry(side, shorter, size) for side in (width, height))
    resampling = Image.Resampling.HAMMING if shorter > size else Image.Resampling.BICUBIC
    resized = np.asarray(image.resize((across, down), resampling)).astype(int)
    expected = resized[top : top + size, left : left + size]
    np.testing.assert_allclose(pixels, expected, atol=2)  # both round twice


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(60, 400), st.integers(60, 400), st.integers(16, 128), st.booleans())
def test_gradients_keep_their_slope_so_nothing_is_squashed(width, height, size, upright):
    """Reference trap 20: a squashed picture has another slope along its longer side."""
    along = height if upright else width
    ramp = np.linspace(0.0, 255.0, along)
    pixels = np.broadcast_to(ramp[:, None] if upright else ramp, (height, width))
    image = Image.fromarray(np.round(pixels).astype(np.uint8)).convert("RGB")
    out = square(image, size)[..., 1].astype(float)
    out = out if not upright else out.T

    resized, offset = geometry(along, min(width, height), size)
    centres = (offset + np.arange(size) + 0.5) * along / resized - 0.5  # in source pixels
    expected = np.interp(centres, np.arange(along), ramp)
    inner = slice(1, -1)  # at the border filters meet the end of the ramp
    np.testing.assert_allclose(out[:, inner], np.tile(expected[inner], (size, 1)), atol=1.6)


def test_a_picture_twice_as_wide_is_cut_not_squashed():
    ramp = np.arange(512) // 2
    image = Image.fromarray(np.broadcast_to(ramp, (256, 512)).astype(np.uint8)).convert("RGB")
    expected = np.broadcast_to(ramp[128:384, None], (256, 256, 3))
    np.testing.assert_array_equal(square(image, 256), expected)


@pytest.mark.parametrize("size", [1, 7, 256])
def test_a_picture_of_that_size_comes_through_untouched(size):
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    np.testing.assert_array_equal(square(Image.fromarray(pixels), size), pixels)
    np.testing.assert_array_equal(load_square(encode_png(pixels), size), pixels)


@pytest.mark.parametrize(("width", "height"), [(500, 375), (375, 500), (683, 512), (1600, 1200)])
def test_shrinking_is_close_to_the_average_over_areas(width, height):
    image = photo(width, height)
    shorter = min(width, height)
    (across, left), (down, top) = (geometry(side, shorter, 256) for side in (width, height))
    rows = overlaps(height, down)[top : top + 256]
    columns = overlaps(width, across)[left : left + 256]
    averages = np.einsum("hy,yxc,wx->hwc", rows, np.asarray(image, float), columns, optimize=True)
    error = np.sqrt(np.mean((square(image, 256) - averages) ** 2))
    boxes = np.asarray(image.resize((across, down), Image.Resampling.BOX), float)
    box_error = np.sqrt(np.mean((boxes[top : top + 256, left : left + 256] - averages) ** 2))
    assert error < 1.0
    assert error < box_error


def overlaps(count: int, resized: int) -> np.ndarray:
    """(resized, count): the part of each resized pixel that each source pixel covers."""
    step = count / resized
    low = np.maximum(np.arange(resized)[:, None] * step, np.arange(count))
    high = np.minimum((np.arange(resized)[:, None] + 1) * step, np.arange(count) + 1)
    return np.clip(high - low, 0, None) / step


@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1)])
def test_the_thinnest_picture_costs_no_more_than_its_square(shape):
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[shape[0] // 2 - 40 : shape[0] // 2 + 40, shape[1] // 2 - 40 : shape[1] // 2 + 40] = 200
    np.testing.assert_array_equal(square(Image.fromarray(pixels), 64), 200)


def stored(side: int = 64, quality: int = 95, **options: object) -> bytes:
    """A JPEG square as a prepared set holds it."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    file = BytesIO()
    coarse.resize((side, side), Image.Resampling.BICUBIC).save(
        file, "JPEG", quality=quality, **options
    )
    return file.getvalue()


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}, {"quality": 30}]
)
def test_a_stored_square_has_the_pixels_that_pillow_gives(options):
    encoded = stored(**options)
    expected = np.asarray(Image.open(BytesIO(encoded)).convert("RGB"))
    np.testing.assert_array_equal(load_square(encoded, 64), expected)
    assert load_square(encoded, 64).flags.writeable


def test_stored_squares_of_real_photographs(shared_data):
    for path in sorted((shared_data / "imagenette-mini" / "val").rglob("*.JPEG"))[::5]:
        encoded = path.read_bytes()  # 224x224, some of them grey
        expected = np.asarray(Image.open(BytesIO(encoded)).convert("RGB"))
        np.testing.assert_array_equal(load_square(encoded, 224), expected)


def test_a_truncated_stored_square_is_refused_at_every_length():
    encoded = stored()
    for length in range(len(encoded) - 2):
        with pytest.raises(BadImage):
            load_square(encoded[:length], 64)


@pytest.mark.parametrize("compiled", [True, False])
@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.sampled_from([b"\xff", b"\xda", b"\xff\xda", b"\0" * 40, b"\xda" * 9000]), max_size=9
    )
)
def test_scans_are_counted_as_bytes_count_does(compiled: bool, parts: list[bytes]) -> None:
    encoded = b"".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            patch.setattr(images, "library", lambda name: None)
        assert images._scans(encoded) == encoded.count(b"\xff\xda")


def test_a_sampling_that_the_fast_decoder_does_not_know_is_decoded_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = BytesIO()
    Image.fromarray(np.full((16, 16, 3), 77, dtype=np.uint8)).save(file, "JPEG")

    def header(encoded: bytes) -> None:
        raise KeyError(6)  # 4:4:1, in simplejpeg 1.9

    monkeypatch.setattr(images, "decode_jpeg_header", header)
    assert np.abs(np.asarray(decode(file.getvalue())).astype(int) - 77).max() <= 1
