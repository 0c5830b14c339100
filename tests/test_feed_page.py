"""The page of the service in a browser: it lives, it reads without a mouse, and it fits a phone."""

import json
import time
from itertools import pairwise

import pytest
from playwright.sync_api import expect

from live import Line, adt, listening

pytestmark = pytest.mark.slow

BOARD = {
    "as_of": "2026-11-29T08:00:00+00:00", "position": 7, "census": 432, "dead_letters": 3,
    "units": {"Mercy / W1": 230, "Mercy / W2": 202}, "last_message": "2026-11-29T07:59:58+00:00",
    "verdict": "model helps", "verdict_sentence": "The model removes 12 % of the error of counting.",
    "drawn_at": "2026-11-29T07:59:30+00:00",
    "coverage": {"sentence": "Of 311 admissions whose interval has passed, 90 % stayed within it."},
    "alarms": [{"name": "drift", "sentence": "Stays are 25 % longer than predicted since 2026-11-20: train anew."}],
    "over": [{"visit": "1a2b3c4d", "unit": "Mercy / W1", "days": 31.2, "high": 24.0}],
    "horizons": [
        {
            "days": day, "date": f"2026-12-{day:02d}", "weekend": day in (5, 6, 12, 13), "discharges": 26.5 - day % 3,
            "units": {
                "all": {"mean": 430.4 + day, "quantiles": {"0.05": 410 - day, "0.5": 430 + day, "0.95": 450 + 2 * day}},
                "Mercy / W1": {"mean": 231.0, "quantiles": {"0.05": 214, "0.5": 231, "0.95": 248}},
            },
        }
        for day in range(1, 15)
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with listening(tmp_path_factory.mktemp("page")) as running:
        yield running


def test_the_census_changes_within_a_second_of_an_admission_and_once_more_after_a_restart(browser, tmp_path):
    with listening(tmp_path) as service:
        page, errors = browser.new_page(), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(service.url)
        expect(page.locator("#line")).to_have_text("live")
        line = Line(service.mllp)
        assert line.ask(adt("1")) == ("AA", "1")
        began = time.monotonic()
        expect(page.locator("#census")).to_have_text("1")
        assert time.monotonic() - began < 1
        expect(page.locator("#units td").first).to_have_text("1")
        port = service.url.rpartition(":")[2]
        line.socket.close()
        assert service.end()[0] == 143
        expect(page.locator("#line")).to_have_attribute("data-state", "lost")
    with listening(tmp_path, f"http.port={port}") as service:
        line = Line(service.mllp)
        line.ask(adt("2"))
        line.ask(adt("3"))
        expect(page.locator("#census")).to_have_text("3", timeout=20_000)
        expect(page.locator("#line")).to_have_text("live")
        line.socket.close()
    assert errors == []
    page.close()


def test_a_board_that_was_asked_for_before_an_admission_does_not_take_it_back(browser, tmp_path):
    with listening(tmp_path) as service:
        line, page = Line(service.mllp), browser.new_page()

        def late(route):
            board = route.fetch()
            line.ask(adt("1"))
            time.sleep(1)  # until the page has heard of it
            route.fulfill(response=board)

        page.route("**/board.json", late, times=1)
        page.goto(service.url)
        expect(page.locator("#drawn")).not_to_have_text("–")
        expect(page.locator("#census")).to_have_text("1")
        line.socket.close()
        page.close()


@pytest.mark.parametrize("width", [1400, 390, 320])  # 320: 1,280 pixels at 400 %
def test_every_figure_is_a_table_too_and_nothing_runs_out_of_the_window(browser, service, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.route("**/board.json", lambda route: route.fulfill(json=BOARD))
    page.goto(service.url)
    page.wait_for_selector("#days tbody tr")
    rows = page.eval_on_selector_all(
        "#days tbody tr", "rows => rows.map(row => [...row.cells].map(c => c.textContent))"
    )
    assert rows[0] == ["2026-12-01", "431.4", "409", "452", "25.5"]
    assert len(rows) == 14
    assert page.locator("#days tr.weekend").count() == 4
    line = page.get_attribute("#fan polyline", "points").split()
    assert len(line) == 14
    assert page.text_content("#units tbody tr:first-child").startswith("Mercy / W1230231.0214248")
    assert page.text_content("#over tbody tr") == "1a2b3c4dMercy / W131.224.0"
    assert page.text_content("#alarms") == BOARD["alarms"][0]["sentence"]
    assert page.text_content("#verdict") == "model helps"
    assert page.locator("#judged").get_attribute("class") == "lead signal"
    before = "one => getComputedStyle(one, '::before').content"
    assert page.locator("#verdict").evaluate(before) == '"✓ "'
    assert page.locator(".alarm").evaluate(before) == '"▲ Alarm: "'
    assert page.text_content("#caption").count("in 90 of 100 cases") == 1
    beds = [int(text) for text in page.locator("#fan text[text-anchor=end]").all_text_contents()]
    assert beds == [400, 450, 500]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator("#figure > div").evaluate("one => one.scrollWidth <= one.clientWidth")  # no day is cut off
    days = page.locator("#fan text[text-anchor=middle]").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect())"
    )
    assert all(one["right"] <= other["left"] for one, other in pairwise(days[:14]))
    page.close()


def test_all_can_be_reached_by_keys_and_nothing_is_asked_of_others(browser, service):
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.route("**/board.json", lambda route: route.fulfill(json=BOARD))
    page.goto(service.url)
    page.wait_for_selector("#days tbody tr")
    stops = []
    for _ in range(5):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')"))
    assert stops == ["dead", "Chart of the beds of the next days", "Beds of the next days", "Units",
                     "Visits over their interval"]  # fmt: skip
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {service.url.split("/")[2]}
    assert json.loads(service.get("board.json"))["census"] == 0
    page.close()
