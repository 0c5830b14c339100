import json

import pandas as pd
import pytest

from hi_ml.app.errors import Untestable
from hi_ml.claims.finding import Draft, Evidence, record
from hi_ml.claims.verdicts import decide

CLAIMS = ("first", "second", "third", "fourth", "fifth")


def part(name="a", *, support=1.0, absence=1.0, estimate=0.0, low=-1.0, high=1.0, **more):
    return Evidence(
        name, f"effect of {name}", "days", estimate, low, high, low, high, 100, 1.0, support, absence, **more
    )


def draft(*parts, rule="all", gaps=()):
    return Draft("A claim.", rule, len(parts) + len(gaps), tuple(parts), tuple(gaps), ("a note",), {})


def finding(*parts, family=5, **more):
    return decide({"first": draft(*parts, **more)}, family=family)[0]


def verdict(*parts, **more):
    found = finding(*parts, **more)
    return found.verdict, found.reason


LARGE = {"support": 1e-6, "estimate": 2.0, "low": 1.5, "high": 2.5}
BARELY = {"support": 1e-6, "estimate": 1.2, "low": 0.5, "high": 1.9}
SMALL = {"support": 1e-6, "absence": 1e-6, "estimate": 0.3, "low": 0.1, "high": 0.5}
NONE = {"support": 0.8, "absence": 1e-6, "estimate": 0.1, "low": -0.1, "high": 0.3}
WIDE = {"support": 0.3, "absence": 0.3, "estimate": 0.7, "low": -0.5, "high": 1.9}


@pytest.mark.parametrize(
    ("parts", "rule", "expected"),
    [
        ([LARGE], "all", ("supported", "STRONG")),
        ([BARELY], "all", ("supported", "SUFFICIENT")),
        ([SMALL], "all", ("not_supported", "NEGLIGIBLE")),
        ([NONE], "all", ("not_supported", "ABSENT")),
        ([WIDE], "all", ("inconclusive", "UNCERTAIN")),
        ([LARGE, BARELY], "all", ("supported", "SUFFICIENT")),
        ([LARGE, BARELY], "any", ("supported", "STRONG")),
        ([LARGE, WIDE], "all", ("inconclusive", "UNCERTAIN")),
        ([LARGE, NONE], "all", ("not_supported", "ABSENT")),
        ([LARGE, NONE], "any", ("supported", "STRONG")),
        ([NONE, NONE], "any", ("not_supported", "ABSENT")),
        ([NONE, WIDE], "any", ("inconclusive", "UNCERTAIN")),
        ([SMALL, WIDE | {"estimate": 1.5}], "any", ("inconclusive", "UNCERTAIN")),
    ],
)
def test_the_verdict_table(parts, rule, expected):
    assert verdict(*(part(str(place), **values) for place, values in enumerate(parts)), rule=rule) == expected


def test_the_sign_that_was_not_claimed_is_opposite_only_when_it_is_sure():
    against = {"support": 1.0, "absence": 1e-6, "estimate": -0.5, "low": -0.9, "high": -0.1}
    assert verdict(part(**against, detail={"p_two_sided": 1e-4})) == ("not_supported", "OPPOSITE")
    assert verdict(part(**against, detail={"p_two_sided": 0.02})) == ("not_supported", "ABSENT")


def test_the_family_is_five_even_for_one_claim():
    assert verdict(part(**LARGE | {"support": 0.011})) == ("inconclusive", "UNCERTAIN")
    assert verdict(part(**LARGE | {"support": 0.009})) == ("supported", "STRONG")


def test_holm_steps_down_over_the_claims():
    p_values = zip(CLAIMS, [0.001, 0.012, 0.04], strict=False)
    found = decide({name: draft(part(**LARGE | {"support": p})) for name, p in p_values}, family=5)
    assert [one.p_support for one in found] == pytest.approx([0.005, 0.048, 0.12])
    assert [one.verdict for one in found] == ["supported", "supported", "inconclusive"]


def test_parts_of_an_any_claim_are_adjusted_within():
    assert verdict(part("a", **LARGE | {"support": 0.004}), part("b", **WIDE), rule="any")[0] == "supported"
    assert verdict(part("a", **LARGE | {"support": 0.006}), part("b", **WIDE), rule="any")[0] == "inconclusive"


def test_only_primary_evidence_decides():
    parts = (part("a", **NONE), part("b", **LARGE, role="secondary"), part("c", **LARGE, role="exploratory"))
    assert verdict(*parts, rule="any") == ("not_supported", "ABSENT")


def test_without_primary_evidence_the_first_gap_is_the_reason():
    gaps = (
        Untestable("NO_MAPPING", "nobody said", "some_key", part="a"),
        Untestable("TOO_FEW", "there are 3", part="b"),
    )
    found = finding(gaps=gaps)
    assert (found.verdict, found.reason, found.p_support, found.p_absence) == ("not_testable", "NO_MAPPING", 1.0, 1.0)
    assert any("some_key" in sentence for sentence in found.sentences)


def test_testable_parts_are_counted_and_said():
    found = finding(part(**LARGE), gaps=(Untestable("TOO_FEW", "there are 3", part="b"),))
    assert (found.parts_testable, found.parts) == (1, 2)
    assert "1 of 2 parts" in found.sentences[0]


def test_n_needed_is_said_only_where_more_rows_would_help():
    wide = part(**WIDE, n_needed=900), part("b", **WIDE, n_needed=400)
    assert finding(*wide).n_needed == 400
    assert finding(*wide, rule="any").n_needed == 900
    assert "900" in finding(*wide, rule="any").sentences[0]
    assert finding(part(**WIDE, n_needed=60)).n_needed is None
    assert finding(part(**NONE, n_needed=900)).n_needed is None


def test_the_bound_of_each_part_is_kept():
    assert finding(part(**WIDE)).excludes_effects_above == {"a": 1.9}


def test_a_record_is_plain_json_without_the_tables():
    found = finding(part(**LARGE), gaps=(Untestable("TOO_FEW", "there are 3", part="b"),))
    plain = json.loads(json.dumps(record(found), allow_nan=False))
    assert {"finding", "claim", "verdict", "reason", "p_support", "p_absence", "evidence"} <= set(plain)
    needed = {"estimand", "estimate", "low", "high", "unit", "n", "smallest_effect", "p_support", "p_absence"}
    assert needed <= set(plain["evidence"][0])
    assert "tables" not in plain
    assert len(pd.json_normalize(plain["evidence"])) == 1
