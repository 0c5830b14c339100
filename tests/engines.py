"""What findings say of one table, by whoever adds its rows up; for the tests of engines."""

from datetime import timedelta
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hi_ml.app.config import build, compose
from hi_ml.claims.catalogue import settings_of, state
from hi_ml.claims.remote import ready_remote
from hi_ml.data.read import read
from hi_ml.data.simulation import simulate
from hi_ml.data.sql.engine import open_engine
from hi_ml.data.sql.table import open_table
from hi_ml.findings import FindingsSettings, ready

OWN = {  # a claim of each kind
    "old_bills": {"kind": "difference", "of": "billed", "by": "age", "bands": {"age": [65]}, "smallest_effect": 500},
    "by_sex": {"kind": "association", "of": "test_result", "by": "sex", "strata": ["age"], "smallest_effect": 0.1},
    "of_hospitals": {"kind": "variation", "of": "length_of_stay", "by": "hospital", "smallest_effect": 1},
    "with_age": {"kind": "trend", "of": "length_of_stay", "by": "age", "strata": ["condition"], "smallest_effect": 1},
}
QUICK = [f"findings.{name}.permutations=49" for name in ("billing_variation", "emergency_stay", "insurance_access")]
QUICK.append("findings.medication_recovery.resamples=20")
LEFT_OUT = "adjusted for"  # part of the name of what only memory can tell


def stated(engine, source, *words, own=OWN):
    """Return what is known of a table, and what is found; of all claims, unless the words name some."""
    quick = () if any(word.startswith("finding=") for word in words) else QUICK
    words = [*words, *quick, f"dataset.source={source}"]
    settings = build(FindingsSettings, compose("findings", "dataset=kaggle", *words))
    keep = partial(pd.DataFrame.head)
    if engine == "local":
        table = read(settings.dataset, keep)
        rows = ready(table, seed=0, keep_duplicates=False)
    else:
        table = open_table(open_engine(engine, settings.dataset, []), settings.dataset, keep)
        rows = ready_remote(table, seed=0, keep_duplicates=False, smallest_cell=5)
    own = {name: {"claim": f"It is so: {name}.", **said} for name, said in own.items()}
    return table.provenance(), state(rows, settings_of(dict(settings.findings) | own))


def assert_equal(ours, theirs):
    """Compare two of what `stated` returns: figures to 1e-9, what is drawn at random within its error."""
    counted = [name for name in theirs[0] if name.startswith(("rows_", "duplicate", "spellings"))]
    assert {name: ours[0][name] for name in counted} == {name: theirs[0][name] for name in counted}
    for one, other in zip(ours[1], theirs[1], strict=True):
        assert (one.verdict, one.reason, one.sentences) == (other.verdict, other.reason, other.sentences)
        evidence = [item for item in other.evidence if LEFT_OUT not in item.part]
        assert [item.part for item in one.evidence] == [item.part for item in evidence]
        for mine, its in zip(one.evidence, evidence, strict=True):
            drawn = "permutations" in mine.detail or mine.part.startswith("names (same person")
            for name in ("n", "units", "estimate", "low", "high", "smallest_effect", "p_support", "p_absence"):
                pair = [getattr(item, name) for item in (mine, its)]
                if None in pair:
                    assert pair == [None, None], (mine.part, name)
                else:
                    near = 0.2 if drawn and name not in ("n", "units", "estimate") else 1e-9
                    np.testing.assert_allclose(*pair, rtol=1e-9, atol=near, err_msg=f"{mine.part} {name}")
        assert list(one.tables) == list(other.tables)
        for name, table in other.tables.items():
            pd.testing.assert_frame_equal(
                one.tables[name].reset_index(drop=True), table.reset_index(drop=True), check_dtype=False, rtol=1e-8
            )


def hard(path):
    """Write a table with what tables have: words in every spelling, holes, rows that cannot be, and near-copies."""
    frame = simulate("planted", 1_200, seed=3, hospitals=6).table.to_pandas()
    rng = np.random.default_rng(0)
    some = lambda n: rng.choice(len(frame), n, replace=False)  # noqa: E731
    frame["Case"] = pd.Series(pd.factorize(frame["Name"].str.casefold())[0]).map("P{}".format)
    frame.loc[some(30), "Case"] = None
    frame.loc[some(40), "Gender"] = " MALE"
    frame.loc[some(40), "Insurance Provider"] = "n/a"
    frame.loc[some(3), "Medication"] = "Rare"
    for place in some(60):
        frame.loc[place, "Hospital"] = ", ".join(reversed(frame.loc[place, "Hospital"].split()))
    frame.loc[some(4), "Age"] = 200
    for place in some(5):
        frame.loc[place, "Discharge Date"] = frame.loc[place, "Date of Admission"] - timedelta(days=2)
    frame["Billing Amount"] = frame["Billing Amount"].where(rng.random(len(frame)) > 0.02)
    again = frame.loc[some(40)].assign(**{"Billing Amount": lambda rows: rows["Billing Amount"] * (1 + 1e-12)})
    again["Doctor"] = again["Doctor"].str.upper()
    whole = pa.Table.from_pandas(pd.concat([frame, again]), preserve_index=False)
    pq.write_table(whole, path)
    return path
