"""Lines: cut, numbered and unpacked the same in blocks of any size."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.compute.arrays import I64
from streams.errors import DataError
from streams.formats import lines as lines_module
from streams.formats.bad_row_search import split_bad_rows
from streams.formats.lines import MAX_LINE_BYTES, Lines, read_lines
from streams.formats.options import ReadOptions
from streams.record import BadRow
from tests.support.tiers import tries

MARK = b"\xef\xbb\xbf"
ANY_FOLDER = settings(
    max_examples=tries(150), suppress_health_check=[HealthCheck.function_scoped_fixture]
)

Got = tuple[list[tuple[int, bytes]], list[BadRow]]


def contents(blocks: Iterator[Lines]) -> Got:
    """The numbered lines, and the bad ones."""
    good: list[tuple[int, bytes]] = []
    bad: list[BadRow] = []
    for block in blocks:
        texts = block.select(np.arange(len(block)))
        good += zip(block.numbers.tolist(), texts, strict=True)
        bad += block.bad
        if len(block):
            # Whatever is read of it, the joined text holds exactly these lines.
            for index in (np.arange(len(block)), np.arange(0, len(block), 2), np.arange(0)):
                joined = map(stripped, block.joined(index).split(b"\n"))
                assert [text for text in joined if text] == [texts[i] for i in index]
    return good, bad


def stripped(text: bytes) -> bytes:
    return text.removesuffix(b"\r")


def expected(data: bytes, longest: int) -> tuple[list[tuple[int, bytes]], list[tuple[int, str]]]:
    """The lines of a file by the plainest means."""
    good, bad = [], []
    for number, text in enumerate(data.removeprefix(MARK).split(b"\n"), 1):
        try:
            if len(text) > longest:
                bad.append((number, "oversized"))
            elif text.decode().strip(" \t\r\n\v\f"):
                good.append((number, stripped(text)))
        except UnicodeDecodeError:
            bad.append((number, "invalid_utf8"))
    return good, bad


@ANY_FOLDER
@given(
    texts=st.lists(
        st.sampled_from([b"", b"a", b" \t", b"bc\r", b"\r", "ü".encode(), b"\xff", b"x" * 40])
        | st.binary(max_size=5).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b"")),
        max_size=20,
    ),
    mark=st.booleans(),
    size=st.integers(1, 60),
    rows=st.integers(1, 6),
    after=st.integers(0, 22),
)
def test_lines_are_those_of_the_file(
    tmp_path: Path, texts: list[bytes], mark: bool, size: int, rows: int, after: int
) -> None:
    data = MARK * mark + b"\n".join(texts)
    path = tmp_path / "log"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "MAX_LINE_BYTES", 30)
        patch.setattr(lines_module, "RAW_CHARACTERS", 7)
        whole = contents(read_lines(path))
        blocks = list(read_lines(path, ReadOptions(block_bytes=size, block_rows=rows)))
        some = contents(iter(blocks))
        rest = contents(read_lines(path, ReadOptions(block_bytes=size, after=after)))
    good, bad = expected(data, 30)
    assert (whole[0], [(row.row, row.reason) for row in whole[1]]) == (good, bad)
    assert some == whole
    assert all(len(block) <= rows for block in blocks)
    assert rest[0] == [line for line in good if line[0] > after]
    assert rest[1] == [row for row in whole[1] if row.row > after]


def test_a_huge_line_is_refused_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "log"
    size = 40 * MAX_LINE_BYTES
    with path.open("wb") as file:
        file.write(b"a\n")
        for _ in range(40):
            file.write(b"x" * MAX_LINE_BYTES)
        file.write(b"\nb\n")
    good, bad = contents(read_lines(path, ReadOptions(block_bytes=1 << 16)))
    assert good == [(1, b"a"), (3, b"b")]
    detail = f"the line has {size} bytes; at most {MAX_LINE_BYTES} are expected"
    assert bad == [BadRow(2, "oversized", detail, "x" * 1000)]
    held = [len(block.data) for block in read_lines(path, ReadOptions(block_bytes=1 << 16))]
    assert max(held) < 1 << 17


def test_the_longest_line_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for extra, count in ((0, 1), (1, 0)):
        path.write_bytes(MARK + b"x" * (MAX_LINE_BYTES + extra))
        for size in (1 << 16, 1 << 22):
            assert len(contents(read_lines(path, ReadOptions(block_bytes=size)))[0]) == count


def test_the_place_of_a_wrong_byte_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"ok\n  \nab\xe4c\n" + "ü\n".encode() + b"\xff\n")
    _, bad = contents(read_lines(path))
    assert [(row.row, row.detail) for row in bad] == [
        (3, "byte 3 of the line, 0xe4, is not UTF-8; UTF-8 is expected"),
        (5, "byte 1 of the line, 0xff, is not UTF-8; UTF-8 is expected"),
    ]
    assert bad[0].raw == "ab\ufffdc"


@ANY_FOLDER
@given(
    parts=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    padding=st.sampled_from([b"", b"\0" * 512]),
    size=st.integers(1, 2000),
)
def test_gzip_members_are_one_file(
    tmp_path: Path, parts: list[bytes], padding: bytes, size: int
) -> None:
    text = [part.hex().encode() + b"\n" for part in parts]
    path = tmp_path / "log.gz"
    path.write_bytes(b"".join(map(gzip.compress, text)) + padding)
    good, _ = contents(read_lines(path, ReadOptions(block_bytes=size)))
    assert [line for _, line in good] == [part.hex().encode() for part in parts if part]


def before_the_error(path: Path, size: int) -> tuple[list[bytes], str]:
    """The lines that were read before the file turned out to be damaged, and what is said."""
    got: list[bytes] = []
    try:
        for block in read_lines(path, ReadOptions(block_bytes=size)):
            got += block.select(np.arange(len(block)))
    except DataError as error:
        return got, str(error)
    pytest.fail("the damage was not noticed")


TEXT = b"".join(b"line %d %d\n" % (i, i * i) for i in range(20_000))


@pytest.mark.parametrize("size", [100, 1 << 20])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.9999])
def test_what_comes_before_the_end_of_a_truncated_file_is_kept(
    tmp_path: Path, share: float, size: int
) -> None:
    packed = gzip.compress(TEXT)
    path = tmp_path / "log.gz"
    path.write_bytes(packed[: int(len(packed) * share)])
    readable = zlib.decompressobj(31).decompress(path.read_bytes())
    got, error = before_the_error(path, size)
    assert got == readable.split(b"\n")[:-1]
    assert error.startswith(f"{path}: the gzip data is damaged (it ends early)")


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_what_comes_before_damage_is_kept(tmp_path: Path, size: int) -> None:
    deflate = zlib.compressobj(wbits=31)
    sound = deflate.compress(TEXT) + deflate.flush(zlib.Z_FULL_FLUSH)
    path = tmp_path / "log.gz"
    path.write_bytes(sound + b"\xff\xff\xff\xff" + b"x" * 100)
    got, error = before_the_error(path, size)
    assert got == TEXT.split(b"\n")[:-1]
    assert error.endswith("is kept; make or fetch the file again.")


def test_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    packed = bytearray(gzip.compress(TEXT))
    packed[-8] ^= 1
    path.write_bytes(packed)
    with pytest.raises(DataError, match="damaged"):
        list(read_lines(path))


def test_bytes_read_are_told(tmp_path: Path) -> None:
    for name, data in (("log", TEXT), ("log.gz", gzip.compress(TEXT))):
        path = tmp_path / name
        path.write_bytes(data)
        told: list[int] = []
        list(read_lines(path, ReadOptions(block_bytes=1000, advance=told.append)))
        assert sum(told) == len(data)
        assert len(told) > 1 or name == "log.gz"


@settings(max_examples=tries(200))
@given(
    good=st.dictionaries(st.integers(0, 60), st.booleans(), max_size=40),
    guesses=st.lists(st.frozensets(st.integers(0, 60)), max_size=2),
)
def test_bad_lines_are_found_whatever_is_guessed(
    good: dict[int, bool], guesses: list[frozenset[int]]
) -> None:
    def read(index: I64) -> list[int] | None:
        return index.tolist() if all(good[i] for i in index) else None

    def guess(lines: frozenset[int]) -> Callable[[], list[int]]:
        return lambda: [i for i in lines if i in good]

    index = np.array(sorted(good), np.int64)
    blocks, bad = split_bad_rows(index, read, [guess(lines) for lines in guesses])
    assert bad == [i for i in sorted(good) if not good[i]]
    assert [i for _, block in blocks for i in block] == [i for i in sorted(good) if good[i]]
    assert all(some.tolist() == block for some, block in blocks)
