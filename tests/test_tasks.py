from dataclasses import replace

import pytest
from pydantic import ValidationError

from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.data.column import Column
from hi_ml.modeling.tasks import MOMENTS, Task, select

COLUMNS = {
    "patient_id": Column("identifier", "admission"),
    "patient_name": Column("text", "admission", private=True),
    "note": Column("text", "admission"),
    "age": Column("number", "admission"),
    "salary": Column("number", "admission", private=True),
    "admitted_on": Column("date", "admission"),
    "medication": Column("category", "stay"),
    "discharged_on": Column("date", "discharge"),
    "length_of_stay": Column("number", "discharge"),
    "test_result": Column("category", "discharge"),
    "billed": Column("number", "after"),
}
AT = {
    "admission": ["age", "admitted_on"],
    "stay": ["age", "admitted_on", "medication"],
    "discharge": ["age", "admitted_on", "medication", "discharged_on", "length_of_stay", "test_result"],
}


def task(target="billed", horizon="admission", features=None):
    return Task("mine", target, "regression", "days", horizon, "mae", features=features)


@pytest.mark.parametrize("horizon", AT)
def test_the_features_are_what_is_known_by_the_horizon(horizon):
    assert select(task(horizon=horizon), COLUMNS)[0] == AT[horizon]


@pytest.mark.parametrize("horizon", MOMENTS)
@pytest.mark.parametrize("target", ["billed", "length_of_stay", "test_result", "discharged_on"])
def test_every_column_is_used_or_refused_with_a_reason(target, horizon):
    used, refused = select(task(target, horizon), COLUMNS)
    assert not set(used) & set(refused)
    assert {*used, *refused} == set(COLUMNS)
    assert all(refused.values())


def test_every_refusal_says_why():
    refused = select(task("length_of_stay", "admission"), COLUMNS)[1]
    assert refused["length_of_stay"] == "the target"
    assert refused["discharged_on"] == "the target is computed from it"
    assert refused["patient_id"] == "kind identifier"
    assert refused["note"] == "kind text"
    assert refused["patient_name"] == refused["salary"] == "private"
    assert refused["billed"] == "known at after, after the horizon admission"


def test_at_discharge_the_bill_may_use_the_stay_but_the_stay_never_its_own_end():
    assert "length_of_stay" in select(task("billed", "discharge"), COLUMNS)[0]
    for horizon in MOMENTS:
        assert "discharged_on" not in select(task("length_of_stay", horizon), COLUMNS)[0]
        assert "length_of_stay" not in select(task("discharged_on", horizon), COLUMNS)[0]


@pytest.mark.parametrize(("role", "known"), [("medication", "stay"), ("test_result", "discharge")])
def test_asking_for_a_later_column_names_it_and_the_horizon_to_set(role, known):
    with pytest.raises(ConfigurationInvalid) as found:
        select(task(features=["age", role]), COLUMNS)
    assert f"'{role}'" in str(found.value)
    assert f"horizon={known}" in str(found.value)


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        ("patient_name", "private"),
        ("patient_id", "identifier"),
        ("length_of_stay", "the target"),
        ("discharged_on", "computed from it"),
        ("shoe_size", "no such column"),
    ],
)
def test_asking_for_a_column_that_no_horizon_would_give_says_why(role, reason):
    with pytest.raises(ConfigurationInvalid, match=reason) as found:
        select(task("length_of_stay", features=[role]), COLUMNS)
    assert role in str(found.value)
    assert "set horizon" not in str(found.value)


def test_an_unknown_column_gets_a_hint():
    with pytest.raises(ConfigurationInvalid, match="did you mean age"):
        select(task(features=["agee"]), COLUMNS)


def test_asked_columns_are_used_in_the_order_of_the_dataset():
    used, refused = select(task(horizon="stay", features=["medication", "age"]), COLUMNS)
    assert used == ["age", "medication"]
    assert refused["admitted_on"] == "not among the task's features"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"score": "log_loss"}, "log_loss scores no regression; mae, rmse, poisson, pinball for regression; log_loss"),
        ({"score": "rmse", "kind": "classification"}, "rmse scores no classification"),
        ({"score": "pinball"}, "pinball with a quantile"),
        ({"quantile": 0.9}, "quantile goes with score pinball"),
        ({"score": "pinball", "quantile": 1.5}, "less than 1"),
        ({"smallest_skill": 1.0}, "smallest_skill is a share below 1, found 1 for mae"),
        ({"smallest_skill": {"rmse": -0.1}}, r"found -0\.1 for rmse"),
    ],
)
def test_a_score_fits_the_kind_and_has_what_it_needs(changed, said):
    with pytest.raises(ValidationError, match=said):
        replace(task(), **changed)
