"""The report: a dict that JSON can hold, and a page that says all of it, needs nothing else and lets nothing in."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from types import SimpleNamespace

import pytest
from PIL import Image

from hi_ml.app.errors import Untestable
from hi_ml.claims.finding import FACT, Draft, Evidence
from hi_ml.claims.verdicts import decide
from hi_ml.reports.findings import in_short, summarize
from hi_ml.reports.page import render

HOSTILE = "<script>alert(1)</script>"
FACTS = {"dataset": "kaggle", "admissions": 50_000, "rows": 55_500, "share": 0.25, "source": None, "seed": 0}
COPIES = "With near-duplicates kept, 1 of 5 claims would be supported."
VOID = {"meta", "img", "br", "link", "input", "hr"}


def part(name="hypertension", **changes):
    plain = Evidence(
        name, f"share of admissions with {name}", "share of admissions",
        0.002, -0.0045, 0.0086, -0.003, 0.0075, 50_000, 0.03, 0.55, 2.5e-17,
    )  # fmt: skip
    return replace(plain, **changes)


def drafts():
    acute = Untestable("NO_MAPPING", "no condition is declared acute", "acute_conditions", "acute")
    stranger = Untestable("NO_PATIENT_ID", "names are chance", part="readmission")
    pair = part("pair", unit="currency", estimate=237.9, low=-325.8, high=801.6, role="secondary", smallest_effect=None,
                p_support=None, p_absence=None, detail={"higher": "Blue Cross"})  # fmt: skip
    cancer = part("cancer", unit="days", low=None, high=None, role="exploratory",
                  detail={"p_value": 0.0003, "discovery": 0})  # fmt: skip
    large = part("f", unit="Cohen's f", estimate=0.086, low=0.077, high=0.095, p_support=1e-9, p_absence=1.0)
    unsure = part("stay", unit="days", estimate=0.77, low=0.47, high=1.06, high90=1.01, n=7_207, smallest_effect=1.0,
                  p_support=0.001, p_absence=0.06, n_needed=9_000)  # fmt: skip
    return {
        "age_condition": Draft("The old have it.", "all", 2, (part(), pair), (acute,), ("Shares are of admissions.",)),
        "billing_variation": Draft("Bills differ.", "any", 2, (large, part("g", unit="share of variance"))),
        "emergency_stay": Draft("Emergencies stay longer.", "all", 1, (unsure, cancer)),
        "medication_recovery": Draft("Drugs help.", "all", 1, gaps=(stranger,)),
        "insurance_access": Draft(f"Care differs between {HOSTILE} & others.", "any", 1,
              (part(HOSTILE, detail={"insurer": HOSTILE}),), (), (f"A note on {HOSTILE}.",)),
    }  # fmt: skip


FINDINGS = decide(drafts(), family=5)
SUMMARY = summarize(FINDINGS, facts=FACTS, with_copies=COPIES, family=5)


class Reader(HTMLParser):
    """What a browser would see: elements with their attributes, the text, and whether every element is closed."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.open, self.pieces, self.hidden = [], [], [], 0
        self.feed(page)
        self.text = re.sub(r"\s+", " ", " ".join(self.pieces))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.pieces.append(data)

    def all(self, tag):
        return [attrs for found, attrs in self.elements if found == tag]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    charts = {}
    for number, finding in enumerate(FINDINGS):
        path = tmp_path_factory.mktemp("charts") / f"{finding.finding}_forest.png"
        Image.new("RGB", (150 + number, 75), (number, 0, 0)).save(path)
        charts[finding.finding] = [(f'Forest plot {number} of "{HOSTILE}"', path)]
    page = render(SUMMARY, charts)
    return SimpleNamespace(page=page, charts=charts, reader=Reader(page))


def leaves(node):
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        return [leaf for part in node for leaf in leaves(part)]
    return [node]


def test_the_five_verdicts_occur():
    assert [found["verdict_words"] for found in SUMMARY["findings"]] == [
        "Not supported", "Supported", "Inconclusive", "Not testable", "Not supported",
    ]  # fmt: skip


def test_the_summary_is_plain_and_text_all_through():
    assert json.loads(json.dumps(SUMMARY, allow_nan=False)) == SUMMARY
    assert {type(leaf) for leaf in leaves(SUMMARY)} <= {str, type(None)}


def test_the_summary_writes_numbers_in_their_units():
    assert SUMMARY["lead"] == "5 claims: 1 supported, 2 not supported, 1 inconclusive, 1 not testable."
    assert SUMMARY["admissions"] == "50,000"
    values = {fact["name"]: fact["value"] for fact in SUMMARY["facts"]}
    assert values == {"rows": "55,500", "share": "0.2500", "source": "–", "seed": "0"}
    decides, beside = (group["rows"][0] for group in SUMMARY["findings"][0]["evidence"])
    assert decides == {
        "what": "Share of admissions with hypertension",
        "remarks": [],
        "estimate": "+0.2",
        "interval": "−0.4 to +0.9",
        "unit": "percentage points",
        "n": "50,000",
        "smallest_effect": "3.0",
        "p_support": "0.55",
        "p_absence": "< 0.0001",
    }
    assert (beside["estimate"], beside["interval"], beside["smallest_effect"]) == ("+238", "−326 to +802", "–")
    assert beside["remarks"] == ["higher: Blue Cross"]


def test_in_short_each_claim_has_its_verdict_and_the_number_that_it_stands_on():
    plain = part(detail={FACT: "in all 3 wards"})
    facts = decide({"wards": Draft("Wards differ.", "any", 1, (plain,))}, family=1)
    lines = [" ".join(line.split()) for line in in_short([*FINDINGS, *facts]).splitlines()]
    assert lines == [
        "claim verdict number",
        "age condition Not supported +0.2 percentage points 95 % interval −0.4 to +0.9",
        "billing variation Supported 0.086 Cohen's f 95 % interval 0.077 to 0.095",
        "emergency stay Inconclusive +0.77 days 95 % interval +0.47 to +1.06",
        "medication recovery Not testable",
        "insurance access Not supported +0.2 percentage points 95 % interval −0.4 to +0.9",
        "wards Not supported in all 3 wards +0.2 percentage points, 95 % interval −0.4 to +0.9",
    ]


def test_the_summary_says_how_far_the_exploratory_may_be_trusted():
    (cancer,) = SUMMARY["findings"][2]["evidence"][1]["rows"]
    assert cancer["interval"] == "–"
    assert cancer["remarks"] == ["p = 0.0003, not adjusted", "does not stand at a false discovery rate of 5 %"]
    assert "cannot change the verdict" in SUMMARY["findings"][2]["evidence"][1]["role"]


def test_the_summary_says_what_is_ruled_out_and_what_is_missing():
    assert SUMMARY["findings"][2]["ruled_out"] == ["stay: above +1.01 days"]
    assert SUMMARY["findings"][0]["gaps"] == [
        {
            "part": "acute",
            "words": "no condition is declared acute",
            "key": "acute_conditions",
        }
    ]
    assert SUMMARY["findings"][3]["gaps"][0]["key"] is None


def test_the_page_says_everything_that_the_summary_holds(made):
    keys = {"finding", "verdict"}  # names for the style sheet
    shown = [
        text
        for found in SUMMARY["findings"]
        for text in leaves({key: value for key, value in found.items() if key not in keys})
    ]
    shown += leaves({key: value for key, value in SUMMARY.items() if key != "findings"})
    for text in filter(None, shown):
        assert re.sub(r"\s+", " ", text) in made.reader.text, text


def test_every_estimate_stands_in_a_row_of_its_table(made):
    rows = [re.sub(r"<[^>]+>", " ", row) for row in re.findall(r"<tr>.*?</tr>", made.page, re.DOTALL)]
    for found in SUMMARY["findings"]:
        for row in (row for group in found["evidence"] for row in group["rows"]):
            cells = [row[name] for name in ("estimate", "interval", "n", "smallest_effect", "p_support", "p_absence")]
            wanted = [cell.replace("<", "&lt;") for cell in cells]
            assert any(all(cell in line for cell in wanted) for line in rows), row


def test_verdicts_come_before_evidence_and_evidence_before_method(made):
    heads = re.findall(r"<(?:h2|summary)[^>]*>([^<]+)</", made.page)
    assert heads[0] == "The verdicts"
    assert heads.index("The evidence, claim by claim") < heads.index("Method") < heads.index("Limits")
    first = made.page.index("Method")
    assert all(made.page.index(found["sentence"]) < first for found in SUMMARY["findings"])
    assert made.page.index(SUMMARY["findings"][4]["sentence"]) < made.page.index("The evidence, claim by claim")


def test_the_page_needs_nothing_else(made):
    assert made.reader.all("script") == [{}]  # its own
    assert not made.reader.all("link")
    assert not made.reader.all("iframe")
    for _, attributes in made.reader.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "action", "data"):
            address = attributes.get(name, "#")
            assert address.startswith(("#", "data:image/png;base64,")), address
    assert not re.search(r"https?://|url\(|@import", made.page)


def test_every_picture_has_its_alternative_text_its_size_and_its_table(made):
    images = made.reader.all("img")
    assert [image["alt"] for image in images] == [alt for drawn in made.charts.values() for alt, _ in drawn]
    assert (images[0]["width"], images[0]["height"]) == ("96", "48")
    assert len({image["src"] for image in images}) == len(images)
    assert "age_condition_forest.csv" in made.reader.text


def test_hostile_names_stay_text(made):
    assert HOSTILE not in made.page
    assert HOSTILE in made.reader.text
    assert "&lt;script&gt;" in made.page


def test_the_page_is_well_formed_and_its_headings_nest(made):
    assert made.page.startswith("<!DOCTYPE html>")
    assert not made.reader.open
    assert made.reader.all("html") == [{"lang": "en"}]
    assert "<title>Findings: kaggle</title>" in made.page
    assert made.reader.all("meta")[1]["content"] == "width=device-width, initial-scale=1"
    levels = [int(tag[1]) for tag, _ in made.reader.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in made.reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in made.reader.all("a"):
        assert link["href"].removeprefix("#") in ids
    for attributes in made.reader.all("section") + made.reader.all("div"):
        assert attributes.get("aria-labelledby", ids[0]) in ids


def test_tables_scroll_in_their_own_box_and_name_their_columns(made):
    assert made.page.count("<table>") == made.page.count('<div class="box" tabindex="0"')
    assert "overflow-x: auto" in made.page
    assert all(head.get("scope") for head in made.reader.all("th"))


def test_the_same_input_gives_the_same_page(made):
    assert render(SUMMARY, made.charts) == made.page


def test_a_page_without_charts_facts_or_copies():
    summary = summarize(FINDINGS[3:4], facts={}, with_copies=None, family=5)
    reader = Reader(render(summary, {}))
    assert summary["lead"] == "1 claim: 1 not testable."
    assert "this table" in reader.text
    assert "near-duplicates kept" not in reader.text
    assert not reader.all("img") + reader.all("table")
    assert "none was asked for" in Reader(render(summarize([], facts={}, with_copies=None, family=5), {})).text


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1400])
def test_in_a_browser_each_verdict_has_a_card_with_sign_word_number_and_picture_and_nothing_is_cut(
    made, browser, tmp_path, width
):
    (tmp_path / "report.html").write_text(made.page, encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.goto((tmp_path / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cards = page.locator(".card")
    assert [card.locator(".verdict").inner_text() for card in cards.all()] == [
        f"{found['sign']} {found['verdict_words']}" for found in SUMMARY["findings"]
    ]
    tones = [card.evaluate("one => getComputedStyle(one).borderLeftColor") for card in cards.all()]
    assert tones[0] != tones[1]  # refuted and supported differ by colour too
    assert [card.locator(".big").all_inner_texts() for card in cards.all()] == [
        [found["number"]["value"]] if found["number"] else [] for found in SUMMARY["findings"]
    ]
    assert cards.nth(0).locator("img").evaluate("one => one.naturalWidth") > 0
    page.evaluate("document.querySelectorAll('details.section').forEach(one => one.open = true)")
    assert page.evaluate("[...document.querySelectorAll('.box')].every(one => one.scrollWidth <= one.clientWidth)")
    page.close()
