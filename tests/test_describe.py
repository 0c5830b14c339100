"""What describe guesses of a table, what its draft is worth, and what it never shows."""

import re
import shutil
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from hi_ml import describe, findings, train
from hi_ml.app.config import build
from hi_ml.data.guess import guess_columns
from hi_ml.data.read import read
from hi_ml.data.schema import Dataset
from hi_ml.data.sources.csv import likely_form
from hi_ml.reports.undescribed import Undescribed

ROWS = 1_200


@pytest.fixture(scope="module")
def table():
    """An export in another tongue of columns, with traps: codes, bands, leading zeros, a copy of the target."""
    rng = np.random.default_rng(0)
    admitted = pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 700, ROWS), unit="D")
    days = 1 + rng.poisson(np.where(rng.random(ROWS) < 0.3, 8, 3))
    age = rng.integers(20, 95, ROWS)
    return pd.DataFrame(
        {
            "Case": [f"C{row:06d}" for row in rng.permutation(ROWS)],
            "Patient ID": rng.integers(5_510_000, 5_510_900, ROWS),
            "Patient Name": [f"Zoe{row} Quux{row % 700}" for row in range(ROWS)],
            "Age Group": [f"{low}-{low + 9}" for low in age // 10 * 10],
            "Sex": rng.choice(["F", "M"], ROWS),
            "Admit Date": admitted.strftime("%d.%m.%Y"),
            "Ward": rng.choice(["A&E", "ICU <1>", 'the "old" one', "é: #2"], ROWS),
            "CCN": [f"{number:06d}" for number in rng.integers(10_001, 10_030, ROWS)],
            "Triage Code": rng.integers(1, 6, ROWS),
            "Lactate": np.where(rng.random(ROWS) < 0.4, "unknown", rng.gamma(2, 1, ROWS).round(2).astype(str)),
            "Remark": [f"free words {row} about Zoe{row}" for row in range(ROWS)],
            "LOS": days,
            "Nights": days - 1,
            "पीड़ा": np.char.replace((rng.random(ROWS) * 10).round(1).astype(str), ".", ","),
        }
    )


@pytest.fixture
def described(inside, tmp_path, table):
    """Describe a table as a user does: the folder it leaves, the draft, and what was said."""

    def run(*asked, frame=table, sep=";"):
        frame.to_csv(tmp_path / "Ward list.csv", index=False, sep=sep)
        ended = inside(describe.main, "source='Ward list.csv'", "hydra.run.dir=out", *asked)
        assert ended.code == 0, ended.stderr
        return tmp_path / "out", yaml.safe_load((tmp_path / "out/dataset/ward_list.yaml").read_text("utf-8")), ended

    return run


def test_kinds_roles_and_keys_are_guessed(described):
    _, draft, _ = described()
    columns = draft["columns"]
    assert {column.get("from", role): (role, column["kind"]) for role, column in columns.items()} == {
        "Case": ("Case", "identifier"),
        "Patient ID": ("patient_id", "identifier"),
        "Patient Name": ("patient_name", "text"),
        "Age Group": ("age", "number"),
        "Sex": ("sex", "category"),
        "Admit Date": ("admitted_on", "date"),
        "Ward": ("Ward", "category"),
        "CCN": ("CCN", "category"),
        "Triage Code": ("Triage_Code", "category"),
        "Lactate": ("Lactate", "number"),
        "Remark": ("Remark", "text"),
        "LOS": ("length_of_stay", "number"),
        "Nights": ("Nights", "number"),
        "पीड़ा": ("पीड़ा", "number"),
    }
    assert (columns["admitted_on"]["format"], columns["age"]["bands"]) == ("%d.%m.%Y", True)
    assert columns["पीड़ा"]["decimal"] == ","
    assert (draft["separator"], "unknown" in draft["missing"]) == (";", True)
    assert {role for role, column in columns.items() if column.get("private")} == {
        "Case", "patient_id", "patient_name", "Remark",
    }  # fmt: skip
    assert draft["known"] == {"admission": [], "stay": [], "discharge": []}


def test_no_cell_of_a_private_column_is_in_any_file(described, table):
    folder, _, ended = described("target=LOS")
    said = ended.stdout + "".join(path.read_text("utf-8") for path in folder.rglob("*") if path.is_file())
    for name in ("Case", "Patient ID", "Patient Name", "Remark"):
        assert not [cell for cell in table[name].astype(str).unique() if cell in said], name


def test_the_page_says_copies_leaks_months_and_keys(described, table, tmp_path):
    houses = pd.DataFrame({"Provider": table["CCN"].unique(), "beds": range(table["CCN"].nunique())})
    houses.to_csv(tmp_path / "houses.csv", index=False)
    folder, draft, _ = described("target=LOS", "beside=[houses.csv]", frame=pd.concat([table, table.head(7)]))
    page = (folder / "describe.html").read_text("utf-8")
    assert "7 rows (0.6 %) are copies" in page
    assert "<strong>Nights</strong> tells 100.0 % of what is open of length_of_stay" in page
    assert "Admissions a month" in page
    assert "<td>houses.csv</td><td>Provider</td><td>100.0 %</td><td>yes</td>" in page
    assert "ICU &lt;1&gt;" in page
    assert "Of many numbers or dates the bars show the central 98 %." in page
    assert draft["joins"]["houses"] | {"columns": list(draft["joins"]["houses"]["columns"])} == {
        "source": "houses.csv",
        "separator": ",",
        True: {"CCN": "Provider"},
        "level": "CCN",
        "known": "after",
        "columns": ["beds"],
    }  # fmt: skip  -- YAML reads a bare on as true
    assert "joined from houses" in page
    admissions = read(build(Dataset, draft), lambda _: tmp_path)
    expected = table["CCN"].map(houses.set_index("Provider")["beds"])
    assert admissions.table["beds"].to_numpy()[:ROWS].tolist() == expected.tolist()


@pytest.mark.parametrize("stray", ["15/15/2024", "00/00/0000", "2023-13-40", "soon", None])
@pytest.mark.parametrize("way", ["%d/%m/%Y", "%m/%d/%Y", "%Y-%m-%d"])
def test_a_cell_that_is_no_date_leaves_the_order_of_the_others_sure(stray, way):
    stray = stray or way.replace("%d", "31").replace("%m", "02").replace("%Y", "2023")  # in no calendar
    days = pd.Series(pd.date_range("2023-01-01", periods=400)).dt.strftime(way)
    few, many = (guess_columns(pa.table({"Admitted": days.where(days.index >= n, stray)}))[0] for n in (1, 40))
    assert (few.role, few.kind, few.keys.get("format", "%Y-%m-%d")) == ("admitted_on", "date", way)
    assert np.isnan(few.numbers).sum() == 1
    assert few.numbers[1] == 19359  # days from 1970 to the second of January 2023
    assert many.keys.get("format") is None
    assert many.numbers is None or many.kind != "date"


@pytest.mark.parametrize("both", [True, False])
def test_dates_of_mixed_orders_are_counted_not_guessed(described, table, both):
    day = pd.Timestamp("2021-01-01") + pd.to_timedelta(np.arange(ROWS) % 12 * 31, unit="D")
    written = np.where(np.arange(ROWS) % 2 == 0, "25/01/2021", "01/25/2021") if both else day.strftime("05/%m/%Y")
    folder, draft, _ = described(frame=table.assign(**{"Admit Date": written}))
    assert "admitted_on" not in draft["columns"]
    text = (folder / "dataset" / "ward_list.yaml").read_text("utf-8")
    counts = "600 cells can only begin with the day, 600 only with the month, 0 with either"
    assert (counts if both else "0 cells can only begin with the day, 0 only with the month, 1,200 with either") in text
    assert "not guessed" in (folder / "describe.html").read_text("utf-8")


@pytest.mark.slow
def test_the_draft_trains_after_one_edit_and_its_claims_are_stated(described, inside):
    folder, _, _ = described()
    path = folder / "dataset" / "ward_list.yaml"
    said = path.read_text("utf-8").replace("admission: []", "admission: [age, sex, Ward, Triage_Code, पीड़ा]")
    path.write_text(said, "utf-8")
    asked = ["--config-dir", "out", "dataset=ward_list", "tracking=none"]
    claims = ",".join(sorted(path.stem for path in (folder / "finding").iterdir()))
    ended = inside(findings.main, *asked, "hydra.run.dir=said", f"finding=[{claims}]")
    assert ended.code == 0, ended.stderr
    assert len(re.findall("^  (?:NOT )?SUPPORTED|^  INCONCLUSIVE", ended.stdout, re.MULTILINE)) == 3
    ended = inside(train.main, *asked, "task=length_of_stay", "model=baseline", "hydra.run.dir=run")
    assert ended.code == 0, ended.stderr


def test_a_stay_that_two_dates_make_is_a_target(inside, tmp_path, admissions_csv):
    ended = inside(describe.main, f"source={admissions_csv}", "target=length_of_stay", "hydra.run.dir=out")
    assert ended.code == 0, ended.stderr
    assert "of: length_of_stay" in next((tmp_path / "out" / "finding").glob("*_difference.yaml")).read_text("utf-8")
    assert "None reproduces length_of_stay" in (tmp_path / "out" / "describe.html").read_text("utf-8")


def test_a_task_that_nobody_asked_for_is_named(described, table):
    frame = table.drop(columns=["LOS", "Nights", "Admitted"], errors="ignore")
    for asked, told in (([], True), (["target=Lactate"], False)):
        folder, _, ended = described(*asked, frame=frame)
        (path,) = (folder / "task").glob("*.yaml")
        target = yaml.safe_load(path.read_text("utf-8"))["target"]
        assert path.stem == f"ward_list_{target if target.isascii() else 'target'}"
        assert f"task={path.stem}" in ended.stdout
        assert (f"No target was named: the drafted task predicts {target};" in ended.stdout) == told
        shutil.rmtree(folder)


def test_a_task_is_of_the_target_that_was_asked_for_however_rare_or_of_none(described, table):
    for rows, drafted in ((12, True), (3, False)):
        rare = np.where(np.arange(len(table)) < rows, "yes", "no")
        folder, _, ended = described("target=Sepsis", frame=table.assign(Sepsis=rare))
        if drafted:
            task = yaml.safe_load((folder / "task/ward_list_Sepsis.yaml").read_text("utf-8"))
            assert (task["target"], task["positive"]) == ("Sepsis", ["yes"])
            assert "Sepsis yes differs" in (folder / "finding/ward_list_difference.yaml").read_text("utf-8")
        else:  # of so few, nothing may be said
            assert not (folder / "task").exists()
            assert "No task is drafted: Sepsis" in ended.stdout
        shutil.rmtree(folder)


def test_the_command_for_a_target_that_ships_names_its_task(described):
    _, _, ended = described("target=LOS")
    assert "task=length_of_stay" in ended.stdout


def test_what_is_asked_for_and_not_there_is_a_sentence(inside, tmp_path, table):
    ended = inside(describe.main, "hydra.run.dir=out")
    assert (ended.code, "describe needs source=" in ended.stderr) == (1, True)
    ended = inside(describe.main, "source=wrad.csv", "hydra.run.dir=out")
    assert (ended.code, ended.stderr.startswith("SourceUnreadable: No file at wrad.csv (looked in ")) == (1, True)
    assert "dataset" not in ended.stderr
    ended = inside(describe.main, "dataset=kaggle", "hydra.run.dir=out")
    assert (ended.code, "did you mean dataset" in ended.stderr) == (1, False)
    table.head(50).to_csv(tmp_path / "t.csv", index=False)
    ended = inside(describe.main, "source=t.csv", "target=LOSS", "hydra.run.dir=out")
    assert (ended.code, "target=LOSS names no column of the file (did you mean LOS?)" in ended.stderr) == (1, True)
    table.head(50).drop(columns="LOS").to_csv(tmp_path / "t.csv", index=False)
    ended = inside(describe.main, "source=t.csv", "target=length_of_stay", "hydra.run.dir=out")
    assert (ended.code, "A length of stay is computed of two dates: leave target= out" in ended.stderr) == (1, True)


@pytest.mark.parametrize(
    ("encoding", "cells"),
    [
        ("cp1251", "Отделение Реанимация Терапия Пневмония Инфаркт"),
        ("koi8_r", "Отделение Реанимация Терапия Пневмония Инфаркт"),
        ("cp1252", "Größe Müller José Núñez François Lefèvre Søren Åberg"),
        ("cp1252", "Réanimation Pédiatrie sévère – forêt"),
        ("iso8859_2", "Oddělení Dětské Třebíč Žďár Šumperk"),
        ("cp1250", "Oddział Wewnętrzny Łódź Świdnica Żory"),
        ("cp1254", "Bölüm Tanı Yaş Ağrılı Şüphesi"),
        ("cp850", "Größe Pädiatrie früh"),
        ("cp1253", "Τμήμα Χειρουργική Παθολογική Πνευμονία"),
        ("cp1256", "قسم تشخيص جراحة التهاب"),
        ("cp932", "病棟 外科 虫垂炎 内科 肺炎"),
        ("euc_jp", "病棟 整形外科 大腿骨骨折 ぜんそく"),
        ("gb18030", "病房 诊断 阑尾炎 社区获得性肺炎"),
        ("big5", "病房 診斷 闌尾炎 內科"),
        ("cp949", "병동 진단 외과 충수염"),
        ("utf-16", "Отделение Größe 病棟"),
        ("utf-16-le", "Отделение Größe 病棟"),
        ("utf-16-be", "Отделение Größe 病棟"),
        ("utf-8", "Отделение Größe 病棟"),
        ("utf-8-sig", "Отделение Größe 病棟"),
        ("ascii", "ward age"),
    ],
)
def test_separators_and_encodings_are_told_by_the_file(tmp_path, encoding, cells):
    path = tmp_path / "t.csv"
    text = "a;b\n" + "".join(f"{one};{row}\n" for row, one in enumerate(cells.split()))
    path.write_bytes(text.encode(encoding))
    form = likely_form(str(path))
    assert form.pop("separator") == ";"
    assert path.read_bytes().decode(form.get("encoding", encoding)).removeprefix("\ufeff") == text
    assert bool(form) == (not encoding.startswith("utf-8") and encoding not in ("utf-16", "ascii"))
    raw = Undescribed.of(str(path), "mine").raw.table
    assert raw["a"].to_pylist() == cells.split()


def test_what_is_no_csv_has_no_form(tmp_path):
    assert likely_form("postgresql://x/y") == {}
    (tmp_path / "t.bin").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 9)
    assert likely_form(str(tmp_path / "t.bin")) == {}
    (tmp_path / "t.csv").write_text("a,b\n1,2\n", "utf-8")
    assert likely_form(str(tmp_path / "t.csv")) == {}


@pytest.mark.slow
def test_fifty_columns_of_a_hundred_thousand_rows_cost_five_seconds(called, tmp_path):
    rng = np.random.default_rng(0)
    n = 100_000
    frame = pd.DataFrame({f"n{i}": rng.gamma(2, 10, n).round(1) for i in range(15)})
    frame = frame.assign(**{f"c{i}": rng.choice(list("abcdefgh"), n) for i in range(30)})
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, 5 * n), unit="D")
    frame = frame.assign(**{f"d{i}": days[i * n : i * n + n].astype(str) for i in range(5)})
    frame.to_csv(tmp_path / "large.csv", index=False)
    started = time.process_time()
    called("describe", tmp_path / "out", f"source={tmp_path / 'large.csv'}", "target=n0")
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("name", "text", "private"),
    [
        ("Номер", "П{:04d}", True),
        ("Fallnummer", "FN-{:05d}", True),
        ("मरीज", "म{:03d}", True),
        ("Cas", "cas {:06d}", True),
        ("Diagnose", "{:c}{:02d}", False),  # codes of diseases differ in their letters
        ("Ward", "W{:d}", False),
        ("Code", "T{:04d}", False),  # whoever names a column so means what it codes
    ],
)
def test_numbers_behind_the_same_letters_are_of_somebody_whatever_the_column_is_called(name, text, private):
    count = 5 if name == "Ward" else 400  # different ones, of 900 rows: who comes again has one number
    each = [text.format(65 + one % 26, one // 26) if "c}" in text else text.format(one) for one in range(count)]
    (guess,) = guess_columns(pa.table({name: np.resize(each, 900)}))
    assert (guess.kind, guess.private) == (("identifier", True) if private else ("category", False))
