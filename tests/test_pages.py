"""What all pages share: colours that can be read by day and by night, one style, and no path of a machine."""

import re
from datetime import UTC, datetime
from importlib.resources import files

import pytest

from hi_ml.reports.board import files_of_board
from hi_ml.reports.provenance import place, tables_in_words

STYLE = files("hi_ml.reports").joinpath("page.css").read_text("utf-8")
PAGES = ["board", "comparison", "description", "model", "page"]
TOKEN = re.compile(r"--(\w+): (#[0-9a-f]{3,6})\b")
LIGHT, DARK = (dict(TOKEN.findall(block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL))
GROUNDS = ("paper", "pale", "look")
TEXT = ("ink", "soft", "deep", "good", "hardly", "calm", "bad")
BEDS = {"mean": 1430.44, "quantiles": {"0.05": 1400, "0.5": 1430, "0.95": 1452}}
SAID = {
    "verdict": "counting suffices",
    "verdict_sentence": "counting suffices: <b>nothing</b> is gained.",
    "alarms": [{"name": "drift", "sentence": "Stays are longer & longer."}],
    "horizons": [
        {
            "days": day, "date": f"2026-12-{day:02d}", "discharges": 26.54,
            "units": dict.fromkeys(("W1", "all"), BEDS),
        }
        for day in (1, 2)
    ],
}  # fmt: skip


def luminance(colour):
    """Relative luminance as WCAG 2.2 defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_black_on_white_has_the_contrast_that_wcag_says():
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.005)  # the grey that just fails


@pytest.mark.parametrize("tokens", [LIGHT, DARK], ids=["light", "dark"])
def test_every_text_can_be_read_on_every_ground_and_marks_be_seen(tokens):
    low = {
        (text, ground): round(contrast(tokens[text], tokens[ground]), 2)
        for text in TEXT for ground in GROUNDS if contrast(tokens[text], tokens[ground]) < 4.5
    }  # fmt: skip
    assert not low
    assert contrast(tokens["deep"], tokens["band"]) >= 3  # the line of the chart of beds


def test_both_views_name_the_same_colours_and_no_page_has_others():
    assert LIGHT.keys() == DARK.keys() >= {*GROUNDS, *TEXT}
    sources = {name: files("hi_ml.reports").joinpath(f"{name}.html.jinja").read_text("utf-8") for name in PAGES}
    sources["live"] = files("hi_ml.reports").joinpath("live.html").read_text("utf-8")
    sources["css"] = re.sub(r":root \{.*?\}", "", STYLE, flags=re.DOTALL)
    assert not {
        name: found for name, text in sources.items() if (found := re.findall(r"#[0-9a-fA-F]{3,8}\b(?!\")", text))
    }


@pytest.mark.parametrize("name", PAGES)
def test_every_page_fits_a_phone_has_the_style_and_sorts_its_tables(name):
    text = files("hi_ml.reports").joinpath(f"{name}.html.jinja").read_text("utf-8")
    for words in (
        'content="width=device-width',
        '{% include "page.css" %}',
        '{% include "page.js" %}',
        '<html lang="en">',
    ):
        assert words in text


def test_the_page_of_a_board_says_verdict_and_alarm_by_colour_sign_and_word_and_lets_no_text_in():
    page = files_of_board(SAID, 1432, datetime(2026, 11, 29, 8, tzinfo=UTC))["report"]
    assert "1,432 beds taken, 2026-11-29 08:00" in page
    assert re.search(
        r'class="answer no_signal">\s*<p class="big"><span class="verdict">.*≈</span> counting suffices', page
    )
    assert "&lt;b&gt;nothing&lt;/b&gt; is gained." in page
    assert "Alarm</span> Stays are longer &amp; longer." in page
    assert re.findall(r"<h2 [^>]*>(.*?)</h2>", page) == ["All units", "W1"]
    assert '<th scope="row">2026-12-01</th><td>1430.4</td><td>1400</td><td>1452</td><td>26.5</td>' in page


def test_a_page_names_no_folder_of_this_machine():
    data = {
        "sources": [{"source": "/home/ann/export.csv", "sha256": 64 * "a"}],
        "joins": {
            "wards": {
                "level": "", "files": [{"file": "/srv/share/wards.csv", "sha256": 64 * "b"}],
                "rows": 10, "rows_matched": 9, "keys": 3, "keys_matched": 3,
            }
        },
    }  # fmt: skip
    said = " ".join(tables_in_words(data).values())
    assert "export.csv" in said
    assert "wards.csv" in said
    assert "/home" not in said + place("sqlite:////home/ann/a#b/ward.db")
    assert "/srv" not in said
    assert place("postgresql://ann@db/ward#table=stays") == "postgresql://ann@db/ward#table=stays"
