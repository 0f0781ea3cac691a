import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.errors import ConfigurationError
from parfocal.models.sheet import Row, batch_count, batch_of, read_sheet, rows_digest, write_sheet

GOOD = "image_id\tname\tsource\nfirst\tThe first\ta.tif\nsecond\t\tb.tif\n"


def read(tmp_path, content):
    path = tmp_path / "samples.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_sheet(path)


def refused(tmp_path, content):
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, content)
    assert str(tmp_path / "samples.tsv") in str(caught.value)
    assert caught.value.remedy
    return str(caught.value)


def test_rows_come_in_the_order_of_the_file(tmp_path) -> None:
    rows = read(tmp_path, GOOD)
    assert [(row.image_id, row.name, row.source) for row in rows] == [
        ("first", "The first", "a.tif"),
        ("second", "", "b.tif"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        GOOD.encode("utf-8-sig"),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace("\n", "\r").encode(),
        GOOD.rstrip("\n").encode(),
        GOOD.replace("\nsecond", "\n\n \t\nsecond").encode(),
    ],
    ids=["byte order mark", "CRLF", "CR", "no last line break", "blank lines"],
)
def test_files_of_other_programs_read_the_same(tmp_path, content) -> None:
    assert read(tmp_path, content) == read(tmp_path, GOOD)


def test_quotes_commas_and_odd_spaces_are_text_like_any_other(tmp_path) -> None:
    name = ' "a, \u2028 b" $HOME [1] \x0b\x85 Ärger '
    (row,) = read(tmp_path, f"image_id\tname\tsource\na\t{name}\ts $1.tif\n")
    assert row.name == name
    assert row.source == "s $1.tif"


def test_missing_values_at_the_end_are_empty_and_free_columns_are_kept(tmp_path) -> None:
    rows = read(tmp_path, "image_id\tsource\tdose_um\tfree\na\ts.tif\t0.10\tx\nb\ts.tif\n")
    assert rows[0].free == {"dose_um": "0.10", "free": "x"}
    assert rows[1].free == {"dose_um": "", "free": ""}
    assert rows[0].as_text()["dose_um"] == "0.10"


def test_a_doubled_image_id_names_both_rows(tmp_path) -> None:
    text = refused(tmp_path, "image_id\tsource\na\tx\n\nb\tx\na\ty\n")
    assert "row 5, column image_id" in text
    assert "also in row 2" in text


@pytest.mark.parametrize(
    "bad", ["a b", "a/b", "..", ".a", "-", "-rf", "ä", "$a", "a\u00a0", "x" * 129, ""]
)
def test_a_bad_image_id_names_row_and_column(tmp_path, bad) -> None:
    text = refused(tmp_path, f"image_id\tname\tsource\nfine\t\tx\n{bad}\tname\tx\n")
    assert "row 3, column image_id" in text


def test_no_image_is_called_as_records_call_a_whole_run(tmp_path) -> None:
    text = refused(tmp_path, "image_id\tsource\n_run\tx\n")
    assert "row 2, column image_id" in text
    assert "_run is what records of a whole run have" in text


@pytest.mark.parametrize("good", ["a", "A-1_b.c", "a-", "_", "0", "a..b", "_run1"])
def test_good_image_ids(tmp_path, good) -> None:
    assert read(tmp_path, f"image_id\tsource\n{good}\tx\n")[0].image_id == good


def test_an_empty_source_names_row_and_column(tmp_path) -> None:
    assert "row 2, column source" in refused(tmp_path, "image_id\tsource\na\t\n")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("image_id\tname", "missing ['source']"),
        ("image_id,source", "missing ['image_id', 'source']"),
        ("image_id\tsource\tsource", "doubled ['source']"),
        ("image_id\tsource\t", "a column without name"),
    ],
)
def test_a_bad_header_is_told_in_row_1(tmp_path, header, found) -> None:
    text = refused(tmp_path, f"{header}\na\tb\tc\n")
    assert "row 1" in text
    assert found in text


def test_too_many_values_tell_both_numbers(tmp_path) -> None:
    text = refused(tmp_path, "image_id\tsource\na\tmy\tfile.tif\n")
    assert "row 2; expected 2; found 3" in text


def test_other_encodings_are_refused_with_the_row(tmp_path) -> None:
    text = refused(tmp_path, GOOD.replace("first\ta", "fürst\ta").encode("latin-1"))
    assert "not UTF-8" in text
    assert "row 2" in text
    assert "not UTF-8" in refused(tmp_path, GOOD.encode("utf-16"))


@pytest.mark.parametrize("content", ["", "\n\n", "image_id\tsource\n"])
def test_a_sheet_without_images_is_refused(tmp_path, content) -> None:
    refused(tmp_path, content)


def test_a_missing_sheet_and_a_folder_are_refused(tmp_path) -> None:
    for path in (tmp_path / "none.tsv", tmp_path):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            read_sheet(path)


cells = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), max_size=9)


@given(names=st.lists(cells, min_size=1, max_size=4))
def test_what_is_written_is_read_again(tmp_path_factory, names) -> None:
    path = tmp_path_factory.mktemp("sheet") / "s.tsv"
    rows = [Row(image_id=f"i{n}", source="s", name=text) for n, text in enumerate(names)]
    write_sheet(path, rows)
    assert read_sheet(path) == rows


@pytest.mark.parametrize("mark", ["\t", "\n", "\r"])
def test_values_that_the_format_cannot_carry_are_refused(tmp_path, mark) -> None:
    with pytest.raises(ConfigurationError, match="image a, column name"):
        write_sheet(tmp_path / "s.tsv", [Row(image_id="a", source="s", name=f"x{mark}y")])


@given(rows=st.integers(1, 5000), size=st.integers(1, 300))
def test_batches_are_a_power_of_two_and_no_larger_than_wanted_on_average(rows, size) -> None:
    batches = batch_count(rows, size)
    assert batches & (batches - 1) == 0
    assert batches * size >= rows
    assert batches == 1 or batches // 2 * size < rows


def test_the_batch_of_an_image_depends_on_nothing_else() -> None:
    # Fixed for good: other numbers would rerun every batch of every user.
    assert [batch_of(f"image_{n}", 4) for n in range(8)] == [1, 0, 1, 3, 3, 2, 2, 3]
    assert batch_of("nuclei", 1) == 0
    found = {batch_of(f"image_{n}", 4) for n in range(50)}
    assert found == {0, 1, 2, 3}
    assert all(batch_of(f"i{n}", 8) % 4 == batch_of(f"i{n}", 4) for n in range(50))


def test_the_digest_of_rows_tells_any_change() -> None:
    row = Row(image_id="a", source="s")
    others = [row.model_copy(update={field: "z"}) for field in ("name", "source", "series", "well")]
    others.append(Row.model_validate({"image_id": "a", "source": "s", "dose": "1"}))
    assert len({rows_digest([r]) for r in [row, *others]}) == 6


@pytest.mark.parametrize("column", ["source", "mask"])
@pytest.mark.parametrize("url", ["https://me:hunter2@x.org/a", "https://x.org/a?token=hunter2"])
def test_a_secret_is_refused_by_its_place_and_not_told(tmp_path, column, url) -> None:
    cells = {"image_id": "a", "source": "s", "mask": "m"} | {column: url}
    text = refused(tmp_path, "\t".join(cells) + "\n" + "\t".join(cells.values()) + "\n")
    assert f"row 2, column {column}" in text
    assert "hunter2" not in text
