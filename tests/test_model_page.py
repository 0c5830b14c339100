"""The page of a trained model: it answers, needs nothing else, invents nothing, and is the same when made again."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from hi_ml import report
from hi_ml.app.errors import ConfigurationInvalid, RunFolderInvalid
from hi_ml.reports import model, tripod
from hi_ml.tracking.folder import RunFolder

TASKS = ("length_of_stay", "test_results")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, called, admissions_csv):
    """The run folders of two tasks, each with its page."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    called("train", folder, "model=linear", "dataset=kaggle", f"dataset.source={admissions_csv}", "tracking=none",
           f"task=[{','.join(TASKS)}]")  # fmt: skip
    return {task: RunFolder(folder / task) for task in TASKS}


@pytest.fixture
def run(runs, tmp_path):
    """A run folder of one's own."""
    shutil.copytree(runs["test_results"].path, tmp_path / "copy")
    return RunFolder(tmp_path / "copy")


def page_of(folder):
    return (folder.path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("task", TASKS)
def test_train_writes_a_page_that_answers_from_top_to_bottom(runs, task):
    page = page_of(runs[task])
    verdict = runs[task].load("verdict")
    places = [page.index(words) for words in ("is the model any good?", verdict["sentence"])]
    places += [re.search(rf'<(?:h2|summary) id="\w+">{re.escape(words)}', page).start() for words in (
        "How good is it?", "What a careless split would have claimed",
        "For whom is it worse?", "What drives it?", "What would it change?", "How sure is it?",
        "What does the table hold?", "Which rows were used", "How it was made", "Limits", "TRIPOD+AI",
    )]  # fmt: skip
    assert places == sorted(places)
    answers = re.findall(r'<dt><a href="#(\w+)">', page[places[1] : places[2]])
    assert answers == ["whom", "drives", "changes"]
    for score in runs[task].load("scores")["score"]:
        assert model.title(score) in page
    for chart in ("scores.csv", "leakage.csv", "subgroups.csv", "importance.csv", "first_look.csv"):
        assert f"Numbers: <code>{chart}</code>" in page


@pytest.mark.parametrize("task", TASKS)
def test_the_page_needs_nothing_else_and_names_no_path_of_the_machine(runs, task, admissions_csv):
    page = page_of(runs[task])
    assert admissions_csv.name in page
    assert str(admissions_csv.parent) not in page
    assert set(re.findall(r'(?:src|href)="([^"#]{5})', page)) == {"data:"}
    assert not re.findall(r"https?:|url\(|@import", page)
    assert str(Path.home()) not in page
    assert str(runs[task].path.parent) not in page
    assert all(alt for alt in re.findall(r'<img [^>]*alt="([^"]*)"', page))
    assert page.count("<img ") == len(re.findall(r'<img [^>]*alt="', page))


@pytest.mark.parametrize("word", model.ANSWERS)
def test_each_verdict_has_an_answer_a_sign_and_its_word(run, word):
    run.write(verdict=run.load("verdict") | {"verdict": word, "reason": "too few events" if word[0] == "i" else ""})
    model.write(run, run, {})
    sign, answer = model.ANSWERS[word]
    page = page_of(run)
    assert f'<div class="answer {word}">' in page
    assert answer in page
    assert re.search(rf"{re.escape(sign)}</span> {word.replace('_', ' ')}(: too few events)?</span>", page)


def test_the_groups_for_whom_it_is_worse_come_first_and_controls_are_marked(run):
    table = run.load("subgroups")
    table["verdict"], table["difference"] = "no difference that matters", 0.001
    worst, control = table.index[table["difference_low"].notna()][[3, -1]]
    table.loc[[worst, control], "verdict"] = "different"
    table.loc[control, "control"] = True
    table.loc[worst, "difference"] = 0.5
    run.write(subgroups=table)
    first, second, third = model._whom(run, {}, []).table.rows[:3]
    assert first[0].endswith(str(table.loc[worst, "level"]))
    assert second[0].endswith(f"{table.loc[control, 'level']} (negative control)")
    assert third[-1] == "no difference that matters"


def test_without_groups_the_page_says_why_and_has_no_empty_table(run):
    why = "Subgroups of sex are not compared: the table lacks it, or keeps it private."
    run.write(run=run.load("run") | {"notes": [why], "sentences": {}}, subgroups=run.load("subgroups").head(0))
    model.write(run, run, {})
    whom = page_of(run).partition('id="whom">')[2].partition('id="drives">')[0]
    assert ("No groups were compared." in whom, why in whom, "<table" in whom) == (True, True, False)


def test_of_each_driver_the_page_shows_levels_or_says_where_its_values_are_drawn(runs):
    stay, results = (model._drives(runs[task], runs[task].load("run")) for task in TASKS)
    assert stay.table.head == ["Level", "Moves the prediction by (days)", "Admissions"]
    assert "Numbers: <code>dependence.csv</code>" in page_of(runs["length_of_stay"])
    assert "dependence" not in re.sub(r"<p>.*?</p>", "", page_of(runs["test_results"]))  # of one class of three
    for task, section in zip(TASKS, (stay, results), strict=True):
        first = runs[task].content(runs[task].explanation / "importance.csv")["column"].head(4).str.replace("_", " ")
        said = {row[0].partition(": ")[0] for row in section.table.rows + section.table.rest}
        begins = "Drawn is how the values of "
        drawn = next(words for words in section.words if words.startswith(begins))
        assert set(first) - said == set(drawn.removeprefix(begins).partition(" move it")[0].split(", "))


def test_no_code_name_stands_for_a_score_or_for_how_patients_are_told_apart(run):
    for identity, clusters in (("linkable", "patients"), ("no_identity", "admissions")):
        run.write(data=run.load("data") | {"patients_told_apart_by": identity})
        model.write(run, run, {})
        items = {item["item"]: item["says"] for item in json.loads((run.path / "tripod_ai.json").read_text())}
        assert items["21"].endswith(f"{clusters}.")
        assert items["12e"].endswith("in log loss.")
        assert identity not in page_of(run)


def test_a_model_that_nothing_moves_has_no_picture_of_it(run):
    importance = run.explanation / "importance.csv"
    assert "Numbers: <code>importance.csv</code>" in page_of(run)
    pd.read_csv(importance).assign(importance=0.0).to_csv(importance, index=False)
    model.write(run, run, {})
    assert "Numbers: <code>importance.csv</code>" not in page_of(run)
    assert "Nothing: no column moves a prediction" in page_of(run)


def test_the_first_screen_says_that_without_a_signal_nothing_drives_it(run):
    for word, first in (
        ("signal", "A prediction is moved most"),
        ("no_signal", "Nothing that counts: without a signal"),
    ):
        run.write(verdict=run.load("verdict") | {"verdict": word})
        model.write(run, run, {})
        assert re.search(r'href="#drives">[^<]*</a></dt><dd>([^<]*)', page_of(run))[1].startswith(first)


def test_what_no_section_says_is_said_and_what_cannot_be_said_too(run):
    said = run.load("run")["sentences"] | {"usefulness": None, "significance": "Chance is never as good."}
    run.write(run=run.load("run") | {"sentences": said})
    model.write(run, run, {})
    asked = page_of(run).partition('id="asked">')[2].partition("<section")[0]
    assert "Chance is never as good." in asked
    assert "Not said: the task names no shares of a class" in page_of(run)


def test_a_folder_that_is_not_there_is_no_run_of_mlflow(inside):
    ended = inside(report.main, "run=outputs/train/nothing", "hydra.run.dir=out")
    assert ended.code == 1
    assert ended.stderr.startswith("RunFolderInvalid: There is no folder outputs/train/nothing")


def test_a_score_worse_than_the_constant_is_marked(run):
    worse = "worse than knowing nothing, or not shown to be better"
    meant = f"▲</span> {worse}</p>"
    scores = run.load("scores")
    assert (meant in page_of(run)) == bool(len(re.findall(f'title="{worse}"', page_of(run))))
    scores.loc[scores["score"] == "brier", "value"] = 0.99
    scores.loc[scores["score"] == "roc_auc", "value"] = 0.4
    run.write(scores=scores)
    model.write(run, run, {})
    marked = re.findall(r'<tr class="marked"><th scope="row">.*?</span> ([^<]*)</th>', page_of(run))
    assert {"Brier score", "area under ROC"} <= set(marked)
    assert page_of(run).count(meant) == 1


def test_what_a_run_knows_answers_33_items_and_nothing_is_invented(runs):
    items = json.loads((runs["length_of_stay"].path / "tripod_ai.json").read_text())
    assert len(items) == len({item["item"] for item in items}) == 52
    by_run = [item for item in items if item["source"] == tripod.OF_RUN]
    assert len(by_run) >= 33
    assert {item["says"] for item in items if item not in by_run} == {tripod.NOT_STATED}
    assert not [item for item in items if re.search(r"[{}]|None|nan", item["says"])]


def test_what_a_person_states_stands_under_their_name(run):
    model.write(run, run, {"18a": "None was needed.", "17": None})
    items = {item["item"]: item for item in json.loads((run.path / "tripod_ai.json").read_text())}
    assert (items["18a"]["says"], items["18a"]["source"]) == ("None was needed.", tripod.OF_PERSON)
    assert items["17"]["says"] == tripod.NOT_STATED
    with pytest.raises(ConfigurationInvalid, match="99z"):
        model.write(run, run, {"99z": "something"})


def test_the_command_makes_the_same_page_again_and_leaves_the_run_alone(runs, called, tmp_path):
    source = runs["test_results"].path
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    called("report", tmp_path / "again", f"run={source}")
    for name in ("report.html", "tripod_ai.json"):
        assert (tmp_path / "again" / name).read_bytes() == before[source / name]
    assert before == {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["verdict", "run", "data", "leakage"])
@pytest.mark.parametrize("content", [{}, {"verdict": 3}, {"task": ["<script>"], "sentences": 1}])
def test_a_run_folder_that_is_not_as_written_ends_in_a_sentence(run, name, content):
    run.write(**{name: content})
    with pytest.raises(RunFolderInvalid):
        model.write(run, run, {})


def test_text_of_a_table_is_text_on_the_page(run):
    levels = run.load("subgroups").assign(level="<script>alert(1)</script>")
    run.write(subgroups=levels)
    model.write(run, run, {})
    assert "<script>alert" not in page_of(run)
    assert "&lt;script&gt;alert(1)" in page_of(run)


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1400])
def test_in_a_browser_nothing_is_cut_tables_sort_and_nothing_is_requested(runs, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    address = (runs["length_of_stay"].path / "report.html").as_uri()
    page.goto(address)
    assert [url for url in requests if not url.startswith("data:")] == [address]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
    assert page.evaluate("document.querySelector('.answer').getBoundingClientRect().bottom < innerHeight")
    assert page.locator("#whom ~ .box td").first.evaluate("one => getComputedStyle(one, '::before').content") == (
        '"Score"' if width == 390 else "none"
    )  # a cell of a stacked row says what it is
    folds = "document.querySelector('details.section').getBoundingClientRect().top + scrollY"
    assert page.evaluate(f"{folds} <= 12 * 844")
    picture, before = page.locator(".zoom img").first, page.locator(".zoom img").first.bounding_box()["width"]
    picture.click()
    assert picture.bounding_box()["width"] > before or width > 390
    picture.click()
    table = page.locator("section table").first
    table.locator("thead th").nth(1).click()
    page.locator("details.section > summary").evaluate_all("all => all.forEach(one => one.parentElement.open = true)")
    assert page.evaluate("[...document.querySelectorAll('.box')].every(one => one.scrollWidth <= one.clientWidth)")
    says = page.locator(".items td:nth-child(3)").nth(1)
    assert says.bounding_box()["width"] > width / 2 or width > 390
    values = pd.to_numeric(pd.Series(table.locator("tbody td:nth-child(2)").all_text_contents()))
    assert values.is_monotonic_increasing
    assert len(values) > 1
    page.close()


@pytest.mark.slow
def test_in_a_dark_room_paper_is_dark_and_pictures_too_but_not_in_print(runs, browser):
    page = browser.new_page(color_scheme="dark")
    page.goto((runs["length_of_stay"].path / "report.html").as_uri())
    look = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.images[0]).filter]"
    assert page.evaluate(look) == ["rgb(21, 24, 27)", "invert(0.92) hue-rotate(180deg)"]
    page.emulate_media(media="print")
    assert page.evaluate(look) == ["rgb(255, 255, 255)", "none"]
    page.close()


@pytest.mark.slow
def test_printed_all_sections_are_open_and_no_page_is_empty(runs, browser):
    page = browser.new_page()
    page.goto((runs["length_of_stay"].path / "report.html").as_uri())
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("[...document.querySelectorAll('details:not(.zoom, .rest)')].every(one => one.open)")
    content = page.pdf(format="A4")
    page.emulate_media(media="print")
    tallest, rows = page.locator("section[aria-labelledby=whom] > figure"), page.locator("#whom ~ .box")
    assert tallest.bounding_box()["y"] > rows.bounding_box()["y"]  # so that no page is half empty before it
    page.set_viewport_size({"width": 688, "height": 1000})  # 182 mm
    broken = """[...document.querySelectorAll('.items :is(th, td:nth-child(2))')].filter(one =>
      getComputedStyle(one).overflowWrap != 'normal' || one.scrollWidth > one.clientWidth).map(one => one.innerText)"""
    assert page.evaluate(broken) == []  # no word of the checklist is cut in two
    assert page.evaluate("getComputedStyle(document.querySelector('.bar')).printColorAdjust") == "exact"
    assert 3 <= content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") <= 20
    page.close()
