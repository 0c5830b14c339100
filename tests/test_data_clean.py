import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hi_ml.data.clean import cell_codes, one_spelling
from hi_ml.scorer.serving import key

WORDS = st.text(alphabet="aAbB ,-", min_size=1, max_size=4)


def dictionary(values):
    return pa.array(values, pa.string()).dictionary_encode()


def test_the_commonest_spelling_wins():
    merged, merges = one_spelling(dictionary(["Male", "male", "MALE", "male", "Female", None]), "case")
    assert merged.to_pylist() == ["male", "male", "male", "male", "Female", None]
    assert merged.dictionary.to_pylist() == ["Female", "male"]
    assert merges == 2


def test_of_spellings_equally_common_the_first_of_the_alphabet_wins():
    assert one_spelling(dictionary(["b a", "a b"]), "words")[0].to_pylist() == ["a b", "a b"]


@pytest.mark.parametrize(("spelling", "kept"), [("exact", 4), ("case", 3), ("words", 1)])
def test_how_much_two_spellings_must_share_is_declared(spelling, kept):
    written = ["Sons and Miller", "sons and miller", "Miller and Sons", "Sons, and Miller"]
    assert len(one_spelling(dictionary(written), spelling)[0].dictionary) == kept


def test_a_category_of_rows_that_were_filtered_out_is_none():
    values = dictionary(["a", "b", "c"]).filter(pa.array([True, False, True]))
    assert one_spelling(values, "case")[0].dictionary.to_pylist() == ["a", "c"]


@given(st.lists(st.one_of(st.none(), WORDS), min_size=1), st.sampled_from(["exact", "case", "words"]))
def test_merging_joins_what_has_one_key_and_nothing_else(written, spelling):
    merged, merges = one_spelling(dictionary(written), spelling)
    found = merged.to_pylist()
    assert [cell is None for cell in found] == [cell is None for cell in written]
    pairs = [(one, other) for one, other in zip(written, found, strict=True) if one is not None]
    assert all(key(one, spelling) == key(other, spelling) for one, other in pairs)
    keys = {key(one, spelling) for one, _ in pairs}
    assert len({other for _, other in pairs}) == len(keys) == len(merged.dictionary)
    assert merges == len({one for one, _ in pairs}) - len(keys)


def test_codes_of_text_ignore_case_and_mark_what_is_missing():
    codes = cell_codes(dictionary(["Ann", None, "ANN", "Bo"]))
    assert codes[0] == codes[2] != codes[3]
    assert codes[1] == -1


def test_codes_of_numbers_agree_to_six_digits():
    codes = cell_codes(pa.array([1234.5678, 1234.5679, 1234.58, None, 0.0, -1234.5678]))
    assert codes[0] == codes[1]
    assert codes[3] == -1
    assert len({codes[0], codes[2], codes[4], codes[5]}) == 4


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e100, max_value=1e100), min_size=1))
def test_codes_are_found_for_any_number(numbers):
    codes = cell_codes(pa.array(numbers, pa.float64()))
    assert codes.dtype == np.int64
    assert codes.min() >= 0
    assert len(set(codes.tolist())) <= len(set(numbers))


def test_codes_of_dates_tell_days_apart():
    days = pa.array(np.array(["2024-01-01", "2024-01-02", "2024-01-01", "NaT"], dtype="datetime64[us]"))
    codes = cell_codes(days)
    assert codes[0] == codes[2] != codes[1]
    assert codes[3] == -1
