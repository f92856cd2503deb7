"""What PromQL expressions of the alerts and the dashboard ask for: names of series and of labels."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import promql_parser
import yaml

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "etc" / "prometheus" / "nova_sched.rules.yaml"
SCRAPE = ROOT / "etc" / "prometheus" / "nova_sched.scrape.yaml"
DASHBOARD = ROOT / "etc" / "grafana" / "nova_sched.json"
#: Labels that Prometheus adds to each series.
OF_PROMETHEUS = frozenset(("job", "instance"))
#: A variable of the dashboard -> a value of it.
VARIABLES = {"$__rate_interval": "5m", '"$cell"': '".+"'}


class Asked(NamedTuple):
    """A series that an expression reads: its name, its labels that are matched or grouped by, and the alternatives of a
    matcher (label -> values)."""

    name: str
    labels: frozenset[str]
    values: dict[str, tuple[str, ...]]


def asked_by(expression: str) -> list[Asked]:
    """What an expression reads; ValueError if it cannot be parsed."""
    return list(_asked(promql_parser.parse(expression), frozenset()))


def _asked(node, grouped) -> Iterator[Asked]:
    if isinstance(node, promql_parser.VectorSelector):
        matchers = node.matchers.matchers
        values = {matcher.name: tuple(matcher.value.split("|")) for matcher in matchers if "Not" not in str(matcher.op)}
        yield Asked(node.name, grouped | {matcher.name for matcher in matchers}, values)
    elif isinstance(node, promql_parser.MatrixSelector):
        yield from _asked(node.vector_selector, grouped)
    elif isinstance(node, promql_parser.AggregateExpr):
        # Labels of an outer group must be those of an inner one, too.
        named = frozenset(node.modifier.labels) if node.modifier is not None else frozenset()
        yield from _asked(node.expr, grouped | named)
    elif isinstance(node, promql_parser.BinaryExpr):
        yield from _asked(node.lhs, grouped)
        yield from _asked(node.rhs, grouped)
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from _asked(argument, grouped)
    elif not isinstance(node, (promql_parser.NumberLiteral, promql_parser.StringLiteral)):
        yield from _asked(node.expr, grouped)


def alerts() -> list[dict]:
    """All alerts."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[tuple[str, str, str]]:
    """(Title, expression, legend) of each line in a panel of the dashboard."""
    found = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            found.append((panel["title"], expression, target["legendFormat"]))
    return found


def legend_labels(text: str) -> set[str]:
    """The labels that a legend or the text of an alert names."""
    legends = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", text)) - {"else", "end"}
    return legends | set(re.findall(r"\$labels\.(\w+)", text))


def everything_asked() -> list[tuple[str, Asked]]:
    """(Alert or panel, what it reads), also of the variables of the dashboard."""
    found = [(alert["alert"], asked) for alert in alerts() for asked in asked_by(alert["expr"])]
    found += [(title, asked) for title, expression, _ in panels() for asked in asked_by(expression)]
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        match = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable.get("definition", ""))
        if match:
            found.append((variable["name"], Asked(match[1], frozenset((match[2],)), {})))
    return found
