"""Write the reference of filters, weighers, options, events and the life of a claim from the code: ``make reference``.

What it costs is taken from costs.json beside this file, which
``python -m bench chain --json docs/reference/costs.json`` writes.
"""

import inspect
import json
import re
import sys
from pathlib import Path

from oslo_versionedobjects import fields as ovo_fields

import compute_agent.config
import conductor.config
import nova_sched.scheduler.config
import rpc_api.config
from nova_sched import filters, weighers
from nova_sched.projection.claim_refusals import ClaimRefused
from nova_sched.projection.reason import template_of
from nova_sched.scheduler import claim_life, neutron
from nova_sched.selection import prefilters
from nova_sched.selection.policy import DEFAULT_FILTERS
from rpc_api import events
from rpc_api.events.schema import PackedObjectField

HERE = Path(__file__).resolve().parent
COMMAND = "make reference"
MODULES = (rpc_api.config, nova_sched.scheduler.config, neutron, conductor.config, compute_agent.config)
GENERATED = f"<!-- Written by `{COMMAND}` from the code: fix it there. -->"


# --- small pieces ----------------------------------------------------------------------------------------------------


def prose(text: str) -> str:
    """A docstring as Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", inspect.cleandoc(text or ""))
    return text.replace("``", "`").replace("|", "\\|")


def one_line(text: str) -> str:
    """The same in a cell of a table."""
    return " ".join(prose(text).split())


def table(head: tuple, rows) -> list[str]:
    """Lines of a table; none without rows."""
    rows = [*rows]
    if not rows:
        return []
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines] + [""]


def shown(value) -> str:
    """A default."""
    if value in (None, "", []):
        return "(none)" if value != "" else "(empty)"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


# --- options ---------------------------------------------------------------------------------------------------------


def options_by_section() -> dict:
    """Section -> (its title, option name -> option) in the order of the packages."""
    sections = {}
    for module in MODULES:
        for group, options in module.list_opts():
            name, title = (group.name, group.title) if hasattr(group, "name") else (group or "DEFAULT", "")
            if group is neutron.GROUP:
                # The others are keystoneauth1's own, and what it says of them changes with its version.
                options = neutron.OPTS
                title += ". Beside these: the options of keystoneauth1 for a password, a session and an adapter"
            sections.setdefault(name, [title, {}])[1].update({one.dest: one for one in options})
    return sections


def wanted_of(option) -> str:
    """The type of an option and what it may be."""
    kind = option.type
    choices = getattr(kind, "choices", None)
    if choices:
        return "one of " + ", ".join(map(str, choices))
    limits = [
        f"at least {kind.min:g}" if getattr(kind, "min", None) is not None else "",
        f"at most {kind.max:g}" if getattr(kind, "max", None) is not None else "",
    ]
    return ", ".join(filter(None, (str(kind).split("(")[0].lower(), *limits)))


def default_of(option) -> str:
    """The default of an option; its description if it differs from machine to machine."""
    return shown(option.sample_default if option.sample_default is not None else option.default)


def options_text() -> str:
    """options.md"""
    lines = [
        GENERATED,
        "# Options",
        "",
        "All options of the services, by section. *Reloaded*: a change counts after SIGHUP, without a restart.",
        "",
    ]
    for name, (title, options) in sorted(options_by_section().items(), key=lambda item: item[0].lower()):
        lines += [f"## [{name}]", "", *([title + ".", ""] if title else [])]
        lines += table(
            ("option", "wanted", "default", "reloaded", "what it does"),
            (
                (
                    f"`{option.dest}`",
                    wanted_of(option),
                    default_of(option),
                    "yes" if option.mutable else "",
                    one_line(option.help),
                )
                for option in options.values()
            ),
        )
    return "\n".join(lines)


def named_option(text: str):
    """(section, option) of "name", which is of [filter_scheduler], or "[section] name"."""
    section, _, name = text.rpartition("] ")
    return section.removeprefix("[") or "filter_scheduler", name


def option_rows(names):
    """Rows of a table of options."""
    sections = options_by_section()
    for section, name in map(named_option, names):
        if name not in sections.get(section, (None, {}))[1]:
            sys.exit(f"there is no option [{section}] {name}, which a filter or weigher names; fix its `options`")
        option = sections[section][1][name]
        yield f"`[{section}] {name}`", default_of(option), one_line(option.help)


def names_of(options):
    """Options as filters and weighers declare them, each as "[section] name"."""
    return [f"[{option.section}] {option.name}" for option in options]


# --- costs -----------------------------------------------------------------------------------------------------------


def costs() -> dict:
    """What was measured; nothing where it was not."""
    path = HERE / "costs.json"
    return json.loads(path.read_text()) if path.exists() else {"filters": {}, "weighers": {}}


def costs_note(measured) -> list[str]:
    """How it was measured."""
    if "machine" not in measured:
        return []
    return [
        f"Measured with {measured['hosts']:,} hosts on {measured['machine']} (load {measured['load']}, "
        f"{measured['clock']} time, medians) by `{measured['command']}`. *All hosts*: a request of a new shape; *a "
        "touched host*: what each host costs that changed since the last request of a shape, where that is all "
        "that is looked at again; *nova*: nova's own class over as many HostState objects. Each is asked for "
        "something that it has to look into.",
        "",
    ]


def cost_cells(measured):
    """Cells: all hosts, a touched host, nova."""
    if not measured:
        return "not measured", "", ""
    touched, of_nova = measured.get("touched_us"), measured.get("nova_ms")
    return (
        f"{measured['all_ms']:.3f} ms",
        "" if touched is None else f"{touched:.0f} µs",
        "" if of_nova is None else f"{of_nova:.0f} ms",
    )


# --- filters ---------------------------------------------------------------------------------------------------------


def reasons_table(reasons) -> list[str]:
    """A table of reasons: code -> what it means."""
    return table(
        ("reason", "what it means"),
        ((f"`{template_of(code)}`", one_line(meaning)) for code, meaning in reasons.items()),
    )


def kept_text(one) -> str:
    """How often a filter or weigher is asked."""
    kept = "kept for a shape" if one.static else "each request"
    return kept + ", costly" if getattr(one, "costly", False) else kept


def asked_text(one) -> str:
    """Who asks a filter."""
    always = any(one is other for other in filters.ALWAYS)
    return "always" if always else "by default" if one.name in DEFAULT_FILTERS else "if enabled"


def filters_text() -> str:
    """filters.md"""
    every = [*filters.ALWAYS, *(one for one in filters.BUILT_IN.values() if one not in filters.ALWAYS)]
    measured = costs()
    lines = [
        GENERATED,
        "# Filters",
        "",
        "A filter refuses hosts, each with a reason that `nova-sched-replay explain` counts. *Always*: asked of "
        "every request; *by default* and *if enabled*: by `[filter_scheduler] enabled_filters`. What is *kept "
        "for a shape* serves all requests that are alike to these filters, and only hosts that changed are "
        "looked at again; a *costly* filter is shown hosts only that no filter before it refused. A rebuild "
        "stays on its host and meets few of them.",
        "",
    ]
    lines += table(
        ("filter", "asked", "on rebuild", "result", "all hosts", "a touched host", "nova"),
        (
            (
                f"[{one.name}](#{one.name.lower()})",
                asked_text(one),
                "yes" if one.on_rebuild else "",
                kept_text(one),
                *cost_cells(measured["filters"].get(one.name)),
            )
            for one in every
        ),
    )
    lines += costs_note(measured)
    for one in every:
        lines += [f"## {one.name}", "", prose(type(one).__doc__), ""]
        lines += table(("option", "default", "what it does"), option_rows(names_of(one.options)))
        lines += reasons_table(one.reasons) if one.reasons else ["It refuses nothing.", ""]
    lines += [
        "# Request filters",
        "",
        "Options and aggregates add to a request before hosts are looked at. A request that no host can take is "
        "refused then, and all hosts count for that reason.",
        "",
        *table(("option", "default", "what it does"), option_rows(names_of(prefilters.OPTIONS))),
        *reasons_table(prefilters.REASONS),
        "# Refused claims",
        "",
        "A claim is read from the log by every service, and has no effect if it does not hold at its position. The "
        "scheduler then decides again.",
        "",
        *reasons_table({code.value: code.meaning for code in ClaimRefused}),
    ]
    return "\n".join(lines)


# --- weighers --------------------------------------------------------------------------------------------------------


def weighers_text() -> str:
    """weighers.md"""
    measured = costs()
    lines = [
        GENERATED,
        "# Weighers",
        "",
        "A weigher gives each host that passed a raw value; higher is better. Raw values are brought to 0 ... 1 "
        "between the least and the greatest of these hosts (*from 0*: between 0 and the greatest, less than 0 "
        "being 0), multiplied and added up. Where hosts are all alike a weigher adds nothing. If a "
        "host's aggregates have numbers under the key in their metadata, the least of them is the multiplier there.",
        "",
    ]
    lines += table(
        (
            "weigher",
            "multiplier",
            "default",
            "range",
            "key of aggregates",
            "normalized",
            "result",
            "all hosts",
            "a touched host",
            "nova",
        ),
        (
            (
                f"[{one.name}](#{one.name.lower()})",
                f"`[{one.group}] {one.option}`",
                f"{one.default_multiplier:g}",
                "any" if one.least is None else f"{one.least:g} or more",
                f"`{one.key or one.option}`",
                "from 0" if one.floor == 0 else "",
                kept_text(one),
                *cost_cells(measured["weighers"].get(one.name)),
            )
            for one in weighers.BUILT_IN.values()
        ),
    )
    lines += costs_note(measured)
    for one in weighers.BUILT_IN.values():
        lines += [f"## {one.name}", "", prose(type(one).__doc__), ""]
        if one.direction < 0:
            lines += ["Its multiplier counts against a host.", ""]
        if one.zero_is_off:
            lines += ["With a multiplier of 0 in the configuration it is off, whatever aggregates say.", ""]
        lines += table(
            ("option", "default", "what it does"), option_rows((f"[{one.group}] {one.option}", *names_of(one.options)))
        )
    return "\n".join(lines)


# --- events ----------------------------------------------------------------------------------------------------------


def type_of(kind) -> str:
    """The type of a field in words."""
    if isinstance(kind, ovo_fields.List):
        return f"list of {type_of(kind._element_type._type)}"
    if isinstance(kind, ovo_fields.Dict):
        return f"map to {type_of(kind._element_type._type)}"
    if isinstance(kind, ovo_fields.Object):
        return f"[{kind._obj_name}](#{kind._obj_name.lower()})"
    return {"NonNegativeInteger": "natural number", "_Amount": "amount", "UUID": "UUID"}.get(
        type(kind).__name__, type(kind).__name__.lower()
    )


def field_rows(schema):
    """Rows of a table of fields."""
    for name, field in schema.fields.items():
        packed = isinstance(field, PackedObjectField)
        kind = f"packed [{field.objname}](#{field.objname.lower()})" if packed else type_of(field._type)
        default = "" if field.default is ovo_fields.UnspecifiedDefault else f"`{field.default!r}`"
        yield f"`{name}`", kind + (" or null" if field.nullable else ""), default


def events_text() -> str:
    """events.md"""
    lines = [
        GENERATED,
        "# Events",
        "",
        "The events that a log may contain. An event is one record of its fields in this order. New fields are only "
        "added at the end, with a default for records of older producers. *By*: the roles whose producers may append "
        "it. An *amount* is a natural number below 2**31.",
        "",
    ]
    lines += table(
        ("event", "version", "by"),
        (
            (f"[{name}](#{name.lower()})", schema.VERSION, ", ".join(sorted(schema.ROLES)))
            for name, schema in events.EVENTS.items()
        ),
    )
    for name, schema in events.EVENTS.items():
        lines += [
            f"## {name}",
            "",
            f"Version {schema.VERSION}, by {', '.join(sorted(schema.ROLES))}.",
            "",
            prose(schema.__doc__),
            "",
            *table(("field", "type", "default"), field_rows(schema)),
        ]
    lines += ["# Objects in events", ""]
    for name in sorted(events.TABLE.keys() - events.EVENTS.keys()):
        schema = events.TABLE[name]
        lines += [
            f"## {name}",
            "",
            f"Version {schema.VERSION}.",
            "",
            prose(schema.__doc__),
            "",
            *table(("field", "type", "default"), field_rows(schema)),
        ]
    return "\n".join(lines)


# --- the life of a claim ---------------------------------------------------------------------------------------------


def in_words(name: str) -> str:
    """The name of an event or an action in a text."""
    return name.replace("_", " ").lower()


def life_diagram() -> list[str]:
    """Each state with the ways out of it. Events that lead to one state, with the same action, share a line."""
    lines = []
    for state in claim_life.State:
        ways = {}
        for (start, event), step in claim_life.TRANSITIONS.items():
            if start is state:
                ways.setdefault(step, []).append(in_words(event.name))
        start = "   <- a claim starts here" if state is claim_life.START else ""
        lines.append(f"{state.name}{start}{'   (end)' if state in claim_life.ENDS else ''}")
        for number, (step, names) in enumerate(ways.items(), 1):
            branch = "└─" if number == len(ways) else "├─"
            action = "" if step.action is claim_life.Action.NOTHING else f"   / {in_words(step.action.name)}"
            target = "── stays" if step.state is state else f"──▶ {step.state.name}"
            lines.append(f"  {branch} {', '.join(names)} {target}{action}")
        lines.append("")
    return lines


def life_text() -> str:
    """claim-life.md"""
    lines = [
        GENERATED,
        "# The life of a claim",
        "",
        "A scheduler publishes a claim (`ClaimProposed`) and follows it until its end is known. The states, the events "
        "that may happen in each of them, and what the scheduler then does are one table, in "
        "`nova_sched/scheduler/claim_life.py`. An event without a cell in the current state is a fault of the "
        "scheduler: it changes nothing, is logged, and is counted as `claim_faults` in the report of the process.",
        "",
        "## Diagram",
        "",
        "Each way out of a state: the events, the next state, and after `/` the action.",
        "",
        "```text",
        *life_diagram()[:-1],
        "```",
        "",
        "## States",
        "",
        *table(("state", "the claim"), ((f"`{state.name}`", state.value) for state in claim_life.State)),
        "## Events",
        "",
        *table(("event", "what happened"), ((in_words(event.name), event.value) for event in claim_life.Event)),
        "## Actions",
        "",
        *table(
            ("action", "what the scheduler does"), ((in_words(each.name), each.value) for each in claim_life.Action)
        ),
        "## States and events",
        "",
        "Each cell has the next state and the action.",
        "",
    ]
    living = [state for state in claim_life.State if state not in claim_life.ENDS]
    lines += table(
        ("event", *(f"`{state.name}`" for state in living)),
        ((in_words(event.name), *(life_cell(state, event) for state in living)) for event in claim_life.Event),
    )
    lines += ["## What cannot happen", ""]
    lines += table(
        ("in these states", "these events", "because"),
        (
            (
                ", ".join(f"`{state.name}`" for state in each.states),
                "any event"
                if len(each.events) == len(claim_life.Event)
                else ", ".join(in_words(event.name) for event in each.events),
                each.reason,
            )
            for each in claim_life.IMPOSSIBLE
        ),
    )
    return "\n".join(lines)


def life_cell(state, event) -> str:
    """A cell of the table of states and events."""
    step = claim_life.TRANSITIONS.get((state, event))
    if step is None:
        return ""
    action = "" if step.action is claim_life.Action.NOTHING else f": {in_words(step.action.name)}"
    return f"`{step.state.name}`{action}"


PAGES = {
    "filters.md": filters_text,
    "weighers.md": weighers_text,
    "options.md": options_text,
    "events.md": events_text,
    "claim-life.md": life_text,
}


def main():
    for name, text in PAGES.items():
        (HERE / name).write_text(text().rstrip() + "\n")


if __name__ == "__main__":
    main()
