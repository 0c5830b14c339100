"""A password in an address is refused before anything is written, and repeated nowhere."""

import pytest

from hi_ml import findings, predict, simulate, train
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.app.passwords import has_password, refuse_passwords, without_password

CANARY = "hunter2"
ADDRESSES = [
    "postgresql://ann:{}@db/ward",
    "postgresql://ann:{}@db:5432/ward?sslmode=require",
    "postgresql://:{}@db/ward",
    "postgresql://ann:a/{}@db/ward",
    "postgresql://ann:a@{}@db/ward",
    "postgresql://ann:a {}@db/ward",
    "postgresql://ann:a#{}?@db/ward",
    "postgresql://ann@db/ward?password={}",
    "postgresql://ann@db/ward?sslmode=require&sslpassword={}",
    "mysql+pymysql://ann:{}@db/ward",
    "https://ann:{}@mlflow.example/",
    "s3://bucket/x.csv?token={}",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_password_is_seen_wherever_it_stands_and_left_out(address):
    written = address.format(CANARY)
    assert has_password(written)
    assert CANARY not in without_password(f"could not connect to {written}: refused")


@pytest.mark.parametrize(
    "text",
    ["postgresql://ann@db:5432/ward", "sqlite:///a:b@c.db", "s3://bucket/a:b@c.csv", "models:/kaggle.billing@champion",
     "https://example.org/a?page=2", "Get it from https://example.org: write to ann@example.org.", "a@b:c"],
)  # fmt: skip
def test_what_is_no_password_stays(text):
    assert not has_password(text)


def test_the_refusal_names_the_key_alone():
    with pytest.raises(ConfigurationInvalid, match=r"^dataset\.joins\[1\]\.url holds a password") as refused:
        refuse_passwords({"dataset": {"joins": ["a", {"url": f"postgresql://ann:{CANARY}@db/ward"}]}})
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("main", "argument"),
    [
        (train.main, "dataset.source={}"),
        (train.main, "+dataset.strange={}"),
        (train.main, "strange={}"),
        (train.main, "dataset.source={{url: {}, broken"),
        (findings.main, "dataset.get={}"),
        (predict.main, "model_uri={}"),
        (simulate.main, "output={}"),
    ],
)
def test_a_command_says_nothing_of_it_and_writes_nothing(inside, tmp_path, main, argument):
    ended = inside(main, argument.format(f"postgresql://ann:{CANARY}@db/ward"))
    assert (ended.code, CANARY in ended.stdout + ended.stderr) == (1, False)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
