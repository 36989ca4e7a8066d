import pytest

from tests.report.folder import make_records, member, picture, write
from thinlens.errors import RecordError
from thinlens.report.records import Pool, Records


def test_what_is_missing_is_none(tmp_path):
    write(tmp_path, "other.json", {})
    assert Records(tmp_path).get("pool.json", Pool) is None


def test_no_record_at_all(tmp_path):
    with pytest.raises(RecordError, match=f"`{tmp_path}`: no records; accepted: a folder"):
        Records(tmp_path)


@pytest.mark.parametrize("name", ["pool.json", "anything.json", "bench/speed.json"])
def test_damaged_json_is_named_whatever_the_record(tmp_path, name):
    make_records(tmp_path)
    write(tmp_path, name, '{"members": [')
    with pytest.raises(RecordError, match=f"{name}`: damaged: Input data was truncated"):
        Records(tmp_path)


def test_deeply_nested_json_is_damage(tmp_path):
    write(tmp_path, "a.json", "[" * 100_000)
    with pytest.raises(RecordError, match=r"a\.json`: damaged"):
        Records(tmp_path)


def test_a_page_that_is_no_text(tmp_path):
    (tmp_path / "a.md").write_bytes(b"\xff\xfe")
    with pytest.raises(RecordError, match=r"a\.md`: damaged: not UTF-8"):
        Records(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": "two"}, r"Expected `int`, got `str` - at `\$.members\[0\].scale`"),
        ({"macs_720p": 0}, "macs_720p"),
        ({"speed": {"1": {"ms": -1, "fps": 1}}}, r"speed\[...\].ms"),
        ({"quality": {"Set5": {"psnr_db": None, "ssim": 1}}}, "psnr_db"),
        ({"name": None}, "name"),
    ],
)
def test_a_damaged_field_is_named(tmp_path, changes, message):
    write(tmp_path, "pool.json", {"members": [member(**changes)]})
    with pytest.raises(RecordError, match=f"pool.json`: damaged: .*{message}"):
        Records(tmp_path).get("pool.json", Pool)


def test_infinite_figures_are_damage(tmp_path):
    write(tmp_path, "pool.json", {"members": [member(quality={"Set5": {"psnr_db": float("inf"), "ssim": 1}})]})
    with pytest.raises(RecordError, match=r"pool\.json`: damaged"):
        Records(tmp_path)


def test_pictures_are_inlined_as_what_they_are(tmp_path):
    picture(make_records(tmp_path), "a.webp", side=9)
    found = Records(tmp_path).picture("a.webp")
    assert (found.media_type, found.size) == ("image/webp", (9, 9))
    assert found.url.startswith("data:image/webp;base64,UklGR")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("../a.png", None, "outside"),
        ("/etc/hostname", None, "outside"),
        ("gone.png", None, "cannot be read: No such file"),
        ("a.png", b"no picture", "no picture"),
        ("a.png", b"GIF89a" + bytes(100), "no picture"),
        ("a.png", bytes((2 << 20) + 1), "more than 2 MiB"),
    ],
)
def test_pictures_that_are_refused(tmp_path, name, content, message):
    folder = make_records(tmp_path / "records")
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(RecordError, match=message):
        Records(folder).picture(name)
