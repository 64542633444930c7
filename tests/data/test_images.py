"""Reading one image: every mode, orientation, format and kind of damage has one defined outcome."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from auxlearn.data import read_image
from auxlearn.data.images import probe_image
from auxlearn.errors import DataError


def saved(image, path, **options):
    image.save(path, **options)
    return path


def gradient(height=6, width=8):
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.ppm"])
def test_lossless_formats_give_the_pixels(tmp_path, name):
    pixels = gradient()
    read = read_image(saved(Image.fromarray(pixels), tmp_path / name))
    assert read.dtype == torch.uint8
    assert torch.equal(read, torch.from_numpy(pixels).permute(2, 0, 1))


@pytest.mark.parametrize(("name", "options"), [("a.jpg", {"quality": 95}), ("a.webp", {"quality": 95}), ("a.gif", {})])
def test_lossy_formats_give_nearly_the_pixels(tmp_path, name, options):
    read = read_image(saved(Image.new("RGB", (16, 16), (200, 100, 50)), tmp_path / name, **options))
    assert (read.float() - torch.tensor([200.0, 100.0, 50.0])[:, None, None]).abs().max() < 4


def test_the_ending_does_not_matter(tmp_path):
    path = saved(Image.new("RGB", (4, 4), (1, 2, 3)), tmp_path / "a.jpg", format="PNG")
    assert read_image(path)[:, 0, 0].tolist() == [1, 2, 3]


def one_pixel(mode, value):
    return Image.new(mode, (3, 3), value)


@pytest.mark.parametrize(
    ("image", "name", "expected"),
    [
        (one_pixel("L", 77), "a.png", [77, 77, 77]),
        (one_pixel("1", 1), "a.png", [255, 255, 255]),
        (one_pixel("LA", (100, 255)), "a.png", [100, 100, 100]),
        (one_pixel("LA", (100, 0)), "a.png", [255, 255, 255]),  # transparent: the white ground
        (one_pixel("RGBA", (10, 20, 30, 255)), "a.png", [10, 20, 30]),
        (one_pixel("RGBA", (10, 20, 30, 0)), "a.png", [255, 255, 255]),
        (one_pixel("RGBA", (0, 0, 0, 51)), "a.png", [204, 204, 204]),  # 255 * (1 - 51 / 255)
        (one_pixel("CMYK", (0, 0, 0, 0)), "a.tiff", [255, 255, 255]),
        (one_pixel("CMYK", (255, 0, 0, 0)), "a.tiff", [0, 255, 255]),
        (one_pixel("I;16", 65535), "a.png", [255, 255, 255]),
        (one_pixel("I;16", 257 * 8), "a.png", [8, 8, 8]),
        (one_pixel("I", 32768), "a.tiff", [128, 128, 128]),  # round(32768 / 257)
        (one_pixel("F", 0.5), "a.tiff", [128, 128, 128]),  # round(127.5), half to even
        (one_pixel("F", 1.0), "a.tiff", [255, 255, 255]),
    ],
    ids=lambda value: getattr(value, "mode", None),
)
def test_every_mode_becomes_rgb(tmp_path, image, name, expected):
    read = read_image(saved(image, tmp_path / name))
    assert read.shape == (3, 3, 3)
    assert read[:, 1, 1].tolist() == expected


def test_a_palette_and_its_transparent_colour(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([9, 8, 7, 1, 2, 3])
    image.putdata([0, 1])
    plain = read_image(saved(image, tmp_path / "plain.png"))
    assert plain[:, 0].T.tolist() == [[9, 8, 7], [1, 2, 3]]
    transparent = read_image(saved(image, tmp_path / "transparent.png", transparency=1))
    assert transparent[:, 0].T.tolist() == [[9, 8, 7], [255, 255, 255]]


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    read = read_image(saved(Image.fromarray(ramp), tmp_path / "ramp.png"))
    assert torch.equal(read[0].flatten(), torch.arange(256, dtype=torch.uint8))


@pytest.mark.parametrize(("mode", "value"), [("I", -1), ("I", 70000), ("F", 1.5), ("F", float("nan"))])
def test_values_without_a_defined_scale_are_refused(tmp_path, mode, value):
    with pytest.raises(DataError, match="values should be"):
        read_image(saved(one_pixel(mode, value), tmp_path / "a.tiff"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.webp", "a.jpg"])
def test_the_orientation_is_applied(tmp_path, orientation, name):
    upright = np.zeros((2, 3, 3), dtype=np.uint8)
    upright[0, 0], upright[0, 2], upright[1, 0] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    # What a camera stores for each orientation: the inverse of what a viewer does (EXIF 2.3, tag 0x0112).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    blocks = stored.repeat(16, axis=0).repeat(16, axis=1)  # of which even a lossy format keeps the centres
    lossless = {"lossless": True} if name == "a.webp" else {"quality": 95, "subsampling": 0} if name == "a.jpg" else {}
    path = saved(Image.fromarray(np.ascontiguousarray(blocks)), tmp_path / name, exif=exif, **lossless)
    centres = read_image(path).permute(1, 2, 0)[8::16, 8::16].int()
    assert (centres - torch.from_numpy(upright).int()).abs().max() < 8
    assert probe_image(path) == (32, 48)


def test_an_animation_shows_its_first_picture(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif")[:, 0, 0].tolist() == [255, 0, 0]


def test_an_image_of_the_right_size_is_not_touched(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path = saved(Image.fromarray(pixels), tmp_path / "a.png")
    assert torch.equal(read_image(path, 8), read_image(path))
    assert torch.equal(read_image(path, 8, fit="squash"), read_image(path))


@pytest.mark.parametrize(("width", "height", "size"), [(12, 4, 4), (12, 4, 2), (16, 40, 8), (30, 20, 40)])
def test_crop_is_the_field_s_resize_and_centre_crop(tmp_path, width, height, size):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path = saved(Image.fromarray(pixels), tmp_path / "a.png")
    short = min(width, height)
    resized = Image.fromarray(pixels).resize((width * size // short, height * size // short), Image.Resampling.BILINEAR)
    left, top = (resized.width - size) // 2, (resized.height - size) // 2
    expected = np.asarray(resized.crop((left, top, left + size, top + size)))
    assert np.array_equal(read_image(path, size).permute(1, 2, 0).numpy(), expected)


def test_squash_shows_everything(tmp_path):
    pixels = np.zeros((4, 12, 3), dtype=np.uint8)
    pixels[:, :3] = 200
    path = saved(Image.fromarray(pixels), tmp_path / "a.png")
    assert read_image(path, 4, fit="squash")[0, 0].tolist() == [pytest.approx(v, abs=40) for v in (200, 0, 0, 0)]
    assert read_image(path, 4)[0, 0].tolist() == [0, 0, 0, 0]


def test_shrinking_averages(tmp_path):
    pixels = np.indices((16, 16)).sum(0) % 2 * 255
    path = saved(Image.fromarray(pixels.astype(np.uint8)), tmp_path / "a.png")
    small = read_image(path, 4).float()
    assert (small - 127.5).abs().max() < 8  # without antialiasing it would be 0 or 255


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_000, 10_000, 60_000], ids=["ours", "pillow-warns", "pillow-refuses"])
def test_a_bomb_is_refused_by_its_header(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(side, side))
    with pytest.raises(DataError, match="pixels"):
        read_image(path)
    with pytest.raises(DataError, match="pixels"):
        probe_image(path)


def jpeg_bytes(tmp_path, name="a.jpg"):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return saved(Image.fromarray(pixels), tmp_path / name).read_bytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda whole: b"", "empty"),
        (lambda whole: whole[: len(whole) // 2], "truncated|cannot be read"),
        (lambda whole: b"<html><body>404</body></html>", "no image in a known format"),
        (lambda whole: whole[:20], "no image|cannot be read"),
        (lambda whole: b"%PDF-1.4 ...", "no image in a known format"),
        (lambda whole: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image in a known format"),
    ],
    ids=["empty", "half", "html", "head", "pdf", "eps"],
)
def test_damage_is_told_with_the_path(tmp_path, content, reason):
    path = tmp_path / "bad.jpg"
    path.write_bytes(content(jpeg_bytes(tmp_path)))
    with pytest.raises(DataError, match=reason) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match="missing"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff", "a.bmp", "a.gif"])
def test_altered_bytes_never_raise_anything_else(tmp_path, name):
    generator = np.random.default_rng(0)
    whole = np.frombuffer(jpeg_bytes(tmp_path, name), dtype=np.uint8)
    path = tmp_path / f"altered-{name}"
    for _ in range(60):
        bad = whole.copy()
        places = generator.integers(0, len(bad), generator.integers(1, 6))
        bad[places] = generator.integers(0, 256, len(places))
        path.write_bytes(bad[: generator.integers(1, len(bad) + 1)].tobytes())
        try:
            read = read_image(path)
        except DataError:
            continue
        assert read.dtype == torch.uint8
        assert read.shape[0] == 3
