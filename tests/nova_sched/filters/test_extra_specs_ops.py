"""The language of extra specs, one row a case."""

import pytest

from nova_sched.filters.extra_specs_ops import OPERATORS, match

ROWS = [
    # value, wanted, whether it matches
    ("1", "1", True),
    ("1", "2", False),
    ("a b", "a b", True),
    ("", "", True),
    ("x", "", False),
    ("2", "= 1", True),
    ("1", "= 1", True),
    ("0", "= 1", False),
    ("1.0", "== 1", True),
    ("1", "== 2", False),
    ("1", "!= 2", True),
    ("1", "!= 1.0", False),
    ("3", ">= 3", True),
    ("2", ">= 3", False),
    ("3", "<= 3", True),
    ("4", "<= 3", False),
    ("a", "s== a", True),
    ("a", "s== b", False),
    ("a", "s!= b", True),
    ("a", "s!= a", False),
    ("a", "s< b", True),
    ("b", "s< b", False),
    ("b", "s<= b", True),
    ("c", "s<= b", False),
    ("c", "s> b", True),
    ("b", "s> b", False),
    ("b", "s>= b", True),
    ("a", "s>= b", False),
    ("abc", "<in> b", True),
    ("abc", "<in> d", False),
    ("['avx', 'aes']", "<all-in> avx aes", True),
    ("['avx']", "<all-in> avx aes", False),
    ("b", "<or> a <or> b", True),
    ("c", "<or> a <or> b", False),
    ("<or>", "<or> a <or> b", False),
    ("1", "> 1", False),
    ("> 1", "> 1", True),
    ("1", ">=", False),
    ("1", "<or>", False),
    ("one", ">= 1", False),
    ("1", ">= one", False),
    ("10", "s< 9", True),
    (">= 1", "  >= 1", False),
]


@pytest.mark.parametrize("value, wanted, matches", ROWS)
def test_match(value, wanted, matches):
    assert match(value, wanted) is matches


def test_every_operator_has_rows_of_both_kinds():
    seen = {(wanted.split()[0], matches) for _, wanted, matches in ROWS if wanted.split()}
    assert all({(operator, True), (operator, False)} <= seen for operator in OPERATORS)
