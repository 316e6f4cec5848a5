"""How numbers, times and tables are written."""

import math

import pytest

from cmd_tune.formatting import (
    duration,
    file_size,
    format_value,
    markdown_table,
    markdown_text,
    named_values,
    percent,
    rounded,
    signed,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599.6, "1:00:00"), (3725, "1:02:05"), (90061, "25:01:01")],
)
def test_a_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (1550, "1.55 kB"),
        (999_499, "999 kB"),
        (999_600, "1 MB"),
        (512_000_000, "512 MB"),
        (12_345_000_000, "12.3 GB"),
    ],
)
def test_a_size(size, text):
    assert file_size(size) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.1235"),
        (1e-5, "1e-05"),
        (12345.6, "1.235e+04"),
        (16384, "16384"),
        (["joint", "bone"], "joint,bone"),
        (("joint",), "joint"),
        ("cosine", "cosine"),
        (None, "None"),
    ],
)
def test_a_setting_has_four_digits(value, text):
    assert format_value(value) == text


def test_settings_in_one_line():
    assert named_values({"topk": 4, "teacher_temperature": 0.05}) == "topk 4, teacher_temperature 0.05"
    assert named_values({}) == ""


def test_a_table_in_markdown():
    assert markdown_table(["a", "b"], [["1", ""]]) == "| a | b |\n|---|---|\n| 1 |  |"
    assert markdown_table(["a|b"], [["-1"]]) == "| a\\|b |\n|---|\n| -1 |"


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("teacher_temperature p < 0.001, a & b", "teacher_temperature p < 0.001, a & b"),
        ("<b>_so_ *much*</b>", r"\<b>\_so\_ \*much\*\</b>"),
        (r"[red]|`x`\ &amp; ~~y~~", r"\[red\]\|\`x\`\\ \&amp; \~\~y\~\~"),
        ("two\nlines", "two lines"),
    ],
)
def test_text_in_markdown_shows_every_character(text, markdown):
    assert markdown_text(text) == markdown


@pytest.mark.parametrize(
    ("value", "bounds", "text"),
    [(62.04, None, "62.0"), (62.06, (60.74, 63.26), "62.1 (60.7–63.3)"), (None, None, "–"), (None, (1.0, 2.0), "–")],
)
def test_a_score_with_its_interval(value, bounds, text):
    assert percent(value, bounds) == text


@pytest.mark.parametrize(
    ("value", "bounds", "digits", "text"),
    [
        (4.875, (4.48, 5.27), 2, "+4.88 (+4.48 to +5.27)"),
        (-4.6, None, 1, "-4.6"),
        (-0.04, (-0.049, 0.0), 1, "+0.0 (+0.0 to +0.0)"),  # no -0.0
        (None, None, 1, "–"),
    ],
)
def test_a_difference_with_its_interval(value, bounds, digits, text):
    assert signed(value, bounds, digits=digits) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (77.35191, 77.35),
        (-5.123456, -5.123),
        (0.00012345678, 0.0001235),
        (9.99996, 10.0),
        (12345.6, 12346.0),
        (0.0, 0.0),
    ],
)
def test_a_number_to_four_digits_keeps_its_whole_part(value, shown):
    assert rounded(value) == shown


def test_what_is_no_finite_number_stays_so():
    assert math.isnan(rounded(math.nan))
    assert rounded(-math.inf) == -math.inf
