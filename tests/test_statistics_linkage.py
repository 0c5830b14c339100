from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hi_ml.statistics.linkage import (
    IdentityRule,
    People,
    close_partners,
    combine,
    judge_identity,
    link,
    overlapping_partners,
    pair_count,
    poisson_interval,
)

RULE = IdentityRule(resamples=200)
DAYS = 365.25


def strangers(n, names, seed):
    rng = np.random.default_rng(seed)
    birth = rng.integers(0, 365 * 60, n) - DAYS * rng.integers(18, 86, n)
    return People(rng.integers(0, names, n), rng.integers(0, 2, n), rng.integers(0, 8, n), birth)


def with_returns(n, returning, seed):
    """Let some people come back later, their estimated birth within a year of the first."""
    first = strangers(n, n * 3, seed)
    rng = np.random.default_rng(seed + 1)
    who = rng.choice(n, returning, replace=False)
    birth = np.concatenate([first.birth, first.birth[who] + rng.uniform(-364, 364, returning).round()])
    columns = [np.concatenate([values, values[who]]) for values in (first.name, first.sex, first.blood_type)]
    return People(*columns, birth), who


def judge(people):
    return judge_identity(people, RULE, rng=np.random.default_rng(0))


def test_counts_are_those_of_listed_pairs():
    people = strangers(250, 40, 1)
    pairs = list(combinations(range(250), 2))

    def agree(i, j):
        close = abs(people.birth[i] - people.birth[j]) < DAYS
        return people.sex[i] == people.sex[j], people.blood_type[i] == people.blood_type[j], close

    same = [agree(i, j) for i, j in pairs if people.name[i] == people.name[j]]
    chance = np.mean([all(agree(i, j)) for i, j in pairs])
    found = judge(people)
    shares = [found.same_name.sex, found.same_name.blood_type, found.same_name.birth]
    np.testing.assert_allclose(shares, np.mean(same, axis=0))
    assert found.same_name.pairs == len(same)
    assert found.compatible.value == sum(map(all, same))
    assert found.expected == pytest.approx(chance * len(same))
    assert found.names == len(set(people.name))


def test_strangers_of_one_name_are_no_persons():
    found = judge(strangers(6000, 2500, 2))
    assert found.verdict == "no_identity"
    assert found.compatible.low <= found.expected
    assert found.predictive_value.low == 0.0
    assert found.same_person.low < 0.002


def test_people_who_come_back_are_recognised():
    people, _ = with_returns(3000, 400, 3)
    found = judge(people)
    assert found.verdict == "linkable"
    assert found.predictive_value.low >= 0.9
    assert found.same_person.low > 0.3


def test_few_returns_are_not_enough_to_link():
    people, _ = with_returns(3000, 20, 4)
    assert judge(people).verdict == "partial"


def test_one_name_for_all_links_nobody():
    people = strangers(2000, 1, 5)
    assert judge(people).verdict == "no_identity"


def test_missing_values_are_in_no_pair():
    people = strangers(500, 20, 6)
    people.name[:100] = -1
    people.birth[100:200] = np.nan
    rest = People(people.name[200:], people.sex[200:], people.blood_type[200:], people.birth[200:])
    assert judge(people).same_name == judge(rest).same_name


def test_no_pairs_at_all_are_no_identity():
    people = People(np.arange(9), np.zeros(9, int), np.zeros(9, int), np.zeros(9))
    found = judge(people)
    assert (found.verdict, found.compatible.value, found.predictive_value.value) == ("no_identity", 0.0, 0.0)


def test_linking_joins_the_returns_and_nobody_else():
    people, who = with_returns(3000, 400, 7)
    person = link(people)
    assert (person[3000:] == person[who]).all()
    assert len(set(person)) == pytest.approx(3000, abs=5)


def test_rows_that_lack_something_are_persons_of_their_own():
    people = People(np.array([1, 1, 1, 1]), np.zeros(4, int), np.zeros(4, int), np.array([0.0, np.nan, 10.0, np.nan]))
    person = link(people)
    assert person[0] == person[2]
    assert len(set(person)) == 3


def test_poisson_limits_are_exact():
    limits = poisson_interval(7)
    assert stats.poisson.sf(6, limits.low) == pytest.approx(0.025)
    assert stats.poisson.cdf(7, limits.high) == pytest.approx(0.025)
    assert poisson_interval(0).low == 0.0


ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(-40, 40), st.integers(0, 15)), max_size=30)


@given(ROWS)
def test_close_pairs_are_those_one_would_list(rows):
    groups, values = [row[0] for row in rows], [row[1] / 4 for row in rows]
    listed = sum(
        groups[i] == groups[j] and abs(values[i] - values[j]) < 2.5 for i, j in combinations(range(len(rows)), 2)
    )
    assert close_partners(groups, values, 2.5).sum() == listed


@given(ROWS)
def test_overlapping_pairs_are_those_one_would_list(rows):
    groups, starts = [row[0] for row in rows], [row[1] for row in rows]
    ends = [row[1] + row[2] for row in rows]
    listed = sum(
        groups[i] == groups[j] and starts[i] <= ends[j] and starts[j] <= ends[i]
        for i, j in combinations(range(len(rows)), 2)
    )
    assert overlapping_partners(groups, starts, ends).sum() == listed


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 2)), min_size=1, max_size=30))
def test_combined_codes_agree_exactly_where_all_codes_do(rows):
    first, second = np.array(rows).T
    both = combine(first, second)
    assert sorted(set(both)) == list(range(len(set(rows))))
    for i, j in combinations(range(len(rows)), 2):
        assert (both[i] == both[j]) == (rows[i] == rows[j])


def test_pairs_of_one_huge_group_are_counted_without_listing_them():
    assert pair_count(np.zeros(200_000, dtype=int)) == 200_000 * 199_999 // 2


@pytest.mark.parametrize("empty", [[], np.zeros(0)])
def test_no_rows_have_no_pairs(empty):
    assert pair_count(np.zeros(0, dtype=int)) == 0
    assert close_partners(np.zeros(0, dtype=int), empty, 1.0).sum() == 0
