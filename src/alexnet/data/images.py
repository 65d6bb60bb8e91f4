"""Encoded bytes to pixels: one policy for every file, however awkward. Pure and thread-safe.

What becomes of the awkward ones:

| file | outcome |
|---|---|
| grayscale, bilevel, palette | the same picture in RGB |
| CMYK, YCCK | Adobe's inverted inks to RGB by the plain formula; colour profiles are ignored |
| alpha channel, transparent colour | composed on white, as a page would show it |
| 16 bits a channel | 0..65535 scaled to 0..255, not clipped |
| 32-bit integers, floating point | refused: their range is anyone's guess |
| orientation (EXIF, TIFF) | ignored: the pixels stay as stored, as in 2012 |
| progressive, arithmetic-coded JPEG | decoded; more than 100 scans are refused |
| wrong name (a PNG called .jpg) | the content decides, the name is never looked at |
| junk before a JPEG's header | skipped, if the header begins in the first 4 KiB |
| gzip'd (some members of the ILSVRC-2010 archives) | unpacked, then decoded |
| animation | its first picture |
| HEIC, AVIF, JPEG XL, JPEG 2000 | refused, with the advice to export it as JPEG |
| truncated, broken, empty, not an image | `BadImage`; never half a picture padded with grey |
| more pixels than the limit | `BadImage` from the header alone, before any pixel has memory |

The formats are a short list on purpose: a format that nobody uses for photographs is only a way in
for hostile files.
"""

import ctypes
import re
import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from simplejpeg import decode_jpeg, decode_jpeg_header

from alexnet.data.squaring import Pixels, square, square_of_pixels
from alexnet.errors import in_a_line
from alexnet.native.build import library

EXTENSIONS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".png",
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".webp",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
)
"""How names end that promise an image, in lower case. Only folders are searched by name."""

NOT_READ = (
    ".heic",
    ".heif",
    ".avif",
    ".jxl",
    ".jp2",
    ".j2k",
    ".arw",
    ".cr2",
    ".cr3",
    ".dng",
    ".nef",
    ".orf",
    ".raf",
    ".rw2",
)
"""How names of photographs end that we do not read: a folder must not lose them in silence."""

MAX_PIXELS = 100_000_000
"""Larger images are refused. Decoding needs about 4 bytes a pixel, 10 for progressive JPEG."""

_JPEG = b"\xff\xd8\xff"  # how every JPEG file begins
_MAX_SCANS = 100  # encoders write about ten; each one costs as much time as the whole image
_MAX_JUNK = 4096  # bytes; further in, a JPEG is more likely a thumbnail in some other file
_MAX_UNZIPPED = 2**28  # bytes

# Tags that mean nothing to us are Pillow's to skip in silence, not to warn about.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.(Tiff|Png)ImagePlugin")


class BadImage(Exception):  # noqa: N818 - an outcome to be listed, no error of ours
    """These bytes are no picture we can use; `str` is the reason, one line in human words."""


class _JpegFile(JpegImageFile):
    """A JPEG file whose EXIF block is not parsed: it costs time and, if corrupt, warnings."""

    def _read_dpi_from_exif(self) -> None:
        """Leave the resolution unknown."""


class _TiffFile(TiffImageFile):
    """A TIFF file whose pixels stay as they are stored, whatever its orientation."""

    def load_end(self) -> None:
        """Leave out what Pillow does here: turning the picture, and with it its size."""
        self._size = self.im.size


# HEIC, AVIF and Canon's raw files; JPEG XL; JPEG 2000.
_NOT_READ = re.compile(
    rb".{4}ftyp(?:hei|hev|mif1|msf1|avi|crx)|\xff\x0a|\0\0\0\x0c(?:JXL |jP  )", re.DOTALL
)

# The classes are called directly because `Image.open` warns on the way, and a warning can be
# silenced only for all threads at once.
_READERS: tuple[tuple[re.Pattern[bytes], type[ImageFile]], ...] = (
    (re.compile(re.escape(_JPEG)), _JpegFile),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile),
    (re.compile(rb"GIF8[79]a"), GifImageFile),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), WebPImageFile),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), _TiffFile),
    (re.compile(rb"P[456]\s"), PpmImageFile),
    (re.compile(rb"BM"), BmpImageFile),
)


def load_square(encoded: bytes, size: int = 256) -> npt.NDArray[np.uint8]:
    """The central square of an encoded image, (size, size, 3) uint8 RGB: `square` of `decode`.

    Raises:
        BadImage: as for `decode`.
    """
    pixels = _plain_jpeg(encoded)
    return square(decode(encoded), size) if pixels is None else square_of_pixels(pixels, size)


def square_of_picture(picture: Image.Image | Pixels, size: int = 256) -> Pixels:
    """As `load_square`, of a picture that has been decoded already: in any mode, or (H, W, 3) RGB.

    Raises:
        BadImage: its mode has no known range, or it is not decoded after all and cannot be.
    """
    if isinstance(picture, np.ndarray):
        return square_of_pixels(picture, size)
    try:
        return square(_rgb(picture), size)
    except BadImage:
        raise
    except Exception as error:  # Pillow reads a file that it has opened only now, as in `decode`
        raise BadImage(in_a_line(error)) from error


def decode(encoded: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture in a file's bytes, in mode RGB; the table above says how.

    Raises:
        BadImage: the bytes are not a whole picture, or it has more than `max_pixels` pixels.
    """
    if not encoded:
        raise BadImage("empty file")
    encoded, reader = _recognise(_unzipped(encoded))
    try:
        image = reader(BytesIO(encoded))
        _check_cost(image, encoded, max_pixels)
        image.load()
        return _rgb(image)
    except BadImage:
        raise
    except Exception as error:  # on hostile bytes decoders raise whatever comes to hand
        raise BadImage(_reason(reader, error)) from error


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A PNG file of (H, W) grey or (H, W, 3) RGB pixels, for sources that hold no files."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _plain_jpeg(encoded: bytes) -> npt.NDArray[np.uint8] | None:
    """The pixels of a JPEG with nothing awkward about it, (H, W, 3) RGB.

    The same library decodes to the same pixels here as in Pillow, but straight into an array and
    without the interpreter's lock, which feeds a training from more threads. On any doubt, and any
    warning of the decoder, the answer is None, and `decode` has the word.
    """
    if not encoded.startswith(_JPEG):
        return None
    try:
        height, width, colors, _ = decode_jpeg_header(encoded)
        cheap = height * width <= MAX_PIXELS and _scans(encoded) <= _MAX_SCANS
        if not cheap or colors not in ("YCbCr", "Gray"):
            return None
        pixels: npt.NDArray[np.uint8] = decode_jpeg(encoded, "RGB")
    except (ValueError, KeyError):  # KeyError: a sampling that simplejpeg does not know
        return None
    return pixels


def _unzipped(encoded: bytes) -> bytes:
    """The content of a gzip'd file; other bytes as they are."""
    if not encoded.startswith(b"\x1f\x8b"):
        return encoded
    unzip = zlib.decompressobj(wbits=31)  # 31: gzip
    try:
        content = unzip.decompress(encoded, _MAX_UNZIPPED)
    except zlib.error as error:
        raise BadImage(f"broken gzip: {error}") from error
    if unzip.unconsumed_tail:
        raise BadImage(f"more than {_MAX_UNZIPPED >> 20} MiB when unzipped")
    if not unzip.eof:
        raise BadImage("truncated")
    return content


def _recognise(encoded: bytes) -> tuple[bytes, type[ImageFile]]:
    """The bytes from where the image begins, and the class that reads its format."""
    for signature, reader in _READERS:
        if signature.match(encoded):
            return encoded, reader
    if _NOT_READ.match(encoded):
        raise BadImage("HEIC or another format that is not read; export it as JPEG")
    start = encoded.find(_JPEG, 0, _MAX_JUNK)
    if start < 0:
        raise BadImage("not an image")
    return encoded[start:], _JpegFile


def _check_cost(image: ImageFile, encoded: bytes, max_pixels: int) -> None:
    """Refuse what would take too much memory or time, knowing the header only."""
    width, height = image.size
    if width * height > max_pixels:
        limit = f"{max_pixels / 1e6:g} megapixels"
        raise BadImage(f"{width}x{height} pixels is over the limit of {limit}")
    if isinstance(image, JpegImageFile) and _scans(encoded) > _MAX_SCANS:
        raise BadImage(f"more than {_MAX_SCANS} scans")


def _scans(encoded: bytes) -> int:
    """How often FF DA occurs, which begins a scan; `bytes.count` would take forty times as long."""
    if (loops := library("scans")) is not None:
        return int(loops.count_scans(ctypes.c_char_p(encoded), ctypes.c_long(len(encoded))))
    values = np.frombuffer(encoded, np.uint8)
    return int(np.count_nonzero(values[1:][values[:-1] == 0xFF] == 0xDA))


def _rgb(image: Image.Image) -> Image.Image:
    """A decoded picture of any mode in mode RGB."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        image = _eight_bits(image)
    elif image.mode in ("I", "F"):
        raise BadImage("32 bits a channel, whose range is not known")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey to 8: v * 255 / 65535, rounded; a transparent level becomes white."""
    levels = np.asarray(image).astype(np.uint32)
    if (clear := image.info.get("transparency")) is not None:  # lost with the 16 bits
        levels[levels == clear] = 65535
    return Image.fromarray(((levels + 128) // 257).astype(np.uint8))


def _reason(reader: type[ImageFile], error: Exception) -> str:
    """A decoder's complaint as one line."""
    said = in_a_line(error)
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if "truncated" in said.lower() or isinstance(error.__cause__ or error, struct.error):
        return "truncated"
    return f"unreadable {reader.format}: {said}"
