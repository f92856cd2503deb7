"""Columns of metrics: what hosts report, whatever is asked for and when; names that nobody asks for cost no column."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.host_metrics import COLUMNS_KEPT
from nova_sched.projection.table import FIRST_ROWS, HostTable
from rpc_api import events
from tests.builders import Cell, report, status

HOSTS, NAMES = ("a", "b", "c"), ("x", "y", "z")
VALUES = st.sampled_from((0.0, -1.5, 7.0))
STATUSES = st.builds(
    lambda metrics, by_node: status(metrics=metrics, numa_metrics=by_node),
    st.dictionaries(st.sampled_from(NAMES), VALUES),
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 1), st.integers(0, 9)), max_size=3),
)
STEPS = st.one_of(
    st.tuples(st.just("report"), st.sampled_from(HOSTS), STATUSES),
    st.tuples(st.just("remove"), st.sampled_from(HOSTS), st.none()),
    st.tuples(st.just("rebase"), st.none(), st.none()),
    st.tuples(st.just("ask"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("grow"), st.none(), st.none()),
    st.tuples(st.just("load"), st.none(), st.none()),
)


def columns_of(table):
    """Host -> metric -> its value, None if it is only reported by node; as the columns have it."""
    found = {}
    for host, row in table.row_of_host.items():
        values = {name: float(table.metric(name)[row]) for name in NAMES if not table.lacks_metric(name)[row]}
        found[host] = {name: None if math.isnan(value) else value for name, value in values.items()}
    return found


def reported(said):
    """The same of what hosts reported last."""
    found = {}
    for host, one in said.items():
        names = one.metrics.keys() | {metric.name for metric in one.numa_metrics}
        found[host] = {name: one.metrics.get(name) for name in names}
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_columns_have_what_hosts_report(steps):
    cell, said, more = Cell(events.LevelPinned(2)), {}, 0
    for kind, name, one in steps:
        table = cell.projection.table
        if kind == "report":
            cell.say(report(name)._replace(status=one))
            said[name] = one
        elif kind == "remove" and name in said:
            cell.say(events.HostRemoved(name, "gone"))
            del said[name]
        elif kind == "rebase":
            cell.say(events.LogRebased("cell1", 0))
            said.clear()
        elif kind == "ask":
            column = table.metric(name)
            assert len(column) == table.count
        elif kind == "grow" and more < 2:
            table._grow_rows()
            more += 1
        elif kind == "load":
            loaded = snapshot.load(snapshot.dump(cell.projection), HostTable())
            assert state_digest(loaded) == state_digest(cell.projection)
            assert columns_of(loaded.table) == columns_of(table)
    assert columns_of(cell.projection.table) == reported(said)


def test_names_that_nobody_asks_for_cost_no_column():
    cell = Cell(events.LevelPinned(2))
    for number in range(5):
        cell.say(
            report(
                "a",
                metrics={f"m-{number}-{place}": 1.0 for place in range(2000)},
                numa_metrics=[(f"n-{number}-{place}", 0, 1) for place in range(2000)],
            )
        )
    metrics = cell.projection.table.metrics
    assert not metrics._columns
    assert metrics._status == {0: cell.projection.hosts["a"].status}


@pytest.mark.parametrize("end", [events.HostRemoved("a", "gone"), events.LogRebased("cell1", 0), report("a")])
def test_metrics_of_a_host_go_with_it(end):
    cell = Cell(report("a", metrics={"x": 1.0}))
    table = cell.projection.table
    assert table.metric("x").tolist() == [1.0] and not table.lacks_metric("x").any()
    cell.say(end)
    assert not table.metrics._status
    assert np.isnan(table.metric("x")).all() and table.lacks_metric("x").all()


def test_only_the_columns_that_were_asked_for_last_are_kept():
    """Each request with a query may name other metrics."""
    cell = Cell(report("a", metrics={f"m{number}": float(number) for number in range(3 * COLUMNS_KEPT)}))
    table = cell.projection.table
    first = table.metrics.column("m0")
    for number in range(3 * COLUMNS_KEPT):
        assert table.metric(f"m{number}").tolist() == [number]
        assert table.metrics.column("m0") is first
    assert len(table.metrics._columns) == COLUMNS_KEPT


def test_a_column_that_was_asked_for_is_not_made_again():
    cell = Cell(report("a", metrics={"x": 1.0}), report("b"))
    table = cell.projection.table
    column = table.metrics.column("x")
    cell.say(report("b", metrics={"x": 2.0}))
    assert table.metrics.column("x") is column and column.values[:2].tolist() == [1.0, 2.0]


def test_columns_grow_with_the_table():
    cell = Cell(report("a", metrics={"x": 1.0}))
    table = cell.projection.table
    table.metric("x")
    for number in range(FIRST_ROWS):
        cell.say(report(f"h{number}", metrics={"x": 2.0}))
    assert table.count == FIRST_ROWS + 1
    assert table.metric("x").tolist() == [1.0] + FIRST_ROWS * [2.0]
