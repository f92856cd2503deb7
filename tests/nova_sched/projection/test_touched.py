"""Which rows changed since a moment."""

import numpy as np

from nova_sched.projection.touched import KEPT_PER_ROW, LEAST_KEPT, TouchedRows


def test_rows_that_were_touched_since_each_moment():
    touched = TouchedRows(8)
    first = touched.version
    touched.touch(3)
    second = touched.version
    touched.touch_use(5)
    touched.touch_use(3)
    assert [touched.since(version) for version in (first, second, touched.version)] == [{3, 5}, {3, 5}, set()]
    assert first < second < touched.version


def test_of_which_rows_more_than_the_use_was_touched():
    touched, rows = TouchedRows(8), np.array([1, 3, 5])
    first = touched.version
    touched.touch_use(1)
    touched.touch(3)
    second = touched.version
    touched.touch_use(3)
    assert touched.beyond_use_since(first, rows).tolist() == [False, True, False]
    assert touched.beyond_use_since(second, rows).tolist() == [False, False, False]


def test_old_touches_are_dropped_and_that_is_known():
    touched = TouchedRows(8)
    versions = []
    for number in range(LEAST_KEPT + 1):
        versions.append(touched.version)
        touched.touch_use(number % 8)
    assert touched.since(versions[0]) is None
    assert touched.since(versions[-1]) == {LEAST_KEPT % 8}
    assert touched.version == LEAST_KEPT + 1


def test_a_larger_table_keeps_more_touches():
    touched = TouchedRows(8)
    touched.touch(7)
    rows = LEAST_KEPT
    touched.grow(rows)
    for _ in range(KEPT_PER_ROW * rows - 1):
        touched.touch_use(rows - 1)
    assert touched.since(0) == {7, rows - 1}
    assert touched.beyond_use_since(0, np.array([7, rows - 1])).tolist() == [True, False]
    touched.touch_use(0)
    assert touched.since(0) is None
