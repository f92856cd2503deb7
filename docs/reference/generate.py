"""Write the reference from the code, ``make reference``: filters, weighers, options, events, the
life of a claim, the programs, the policies and the Placement API.

What it costs is taken from costs.json beside this file, which
``python -m bench chain --json docs/reference/costs.json`` writes.
"""

import json
import sys
from pathlib import Path

from as_markdown import GENERATED, one_line, prose, shown, table
from life_page import life_text
from oslo_versionedobjects import fields as ovo_fields
from program_pages import cli_text, policy_text

import compute_agent.config
import compute_agent.nova_notifier.config
import conductor.config
import nova_sched.page.config
import nova_sched.scheduler.config
import placement_api.config
import rpc_api.config
from nova_sched import filters, weighers
from nova_sched.projection.claim_refusals import ClaimRefused
from nova_sched.projection.reason import template_of
from nova_sched.scheduler import neutron
from nova_sched.selection import prefilters
from nova_sched.selection.policy import DEFAULT_FILTERS
from placement_api import openapi
from rpc_api import events
from rpc_api.events.schema import PackedObjectField

HERE = Path(__file__).resolve().parent
MODULES = (
    rpc_api.config,
    nova_sched.scheduler.config,
    neutron,
    conductor.config,
    compute_agent.config,
    compute_agent.nova_notifier.config,
    placement_api.config,
    nova_sched.page.config,
)


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
            sections.setdefault(name, [title, {}])[1].update({option.dest: option for option in options})
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


def kept_text(component) -> str:
    """How often a filter or weigher is asked."""
    kept = "kept for a shape" if component.static else "each request"
    return kept + ", costly" if getattr(component, "costly", False) else kept


def asked_text(component) -> str:
    """Who asks a filter."""
    if component.name in filters.OF_GROUPS:
        return "always, except by force"
    always = any(component is other for other in filters.ALWAYS)
    return "always" if always else "by default" if component.name in DEFAULT_FILTERS else "if enabled"


def filters_text() -> str:
    """filters.md"""
    every = [
        *filters.ALWAYS,
        *(component for component in filters.BUILT_IN.values() if component not in filters.ALWAYS),
    ]
    measured = costs()
    lines = [
        GENERATED,
        "# Filters",
        "",
        "A filter refuses hosts, each with a reason that `nova-sched-replay explain` counts. *Always*: asked of "
        "every request (*except by force*: not if it names hosts by force); *by default* and *if enabled*: by "
        "`[filter_scheduler] enabled_filters`. What is *kept "
        "for a shape* serves all requests that are alike to these filters, and only hosts that changed are "
        "looked at again; a *costly* filter is shown hosts only that no filter before it refused. A rebuild "
        "stays on its host and meets few of them.",
        "",
    ]
    lines += table(
        ("filter", "asked", "on rebuild", "result", "all hosts", "a touched host", "nova"),
        (
            (
                f"[{component.name}](#{component.name.lower()})",
                asked_text(component),
                "yes" if component.on_rebuild else "",
                kept_text(component),
                *cost_cells(measured["filters"].get(component.name)),
            )
            for component in every
        ),
    )
    lines += costs_note(measured)
    for component in every:
        lines += [f"## {component.name}", "", prose(type(component).__doc__), ""]
        lines += table(("option", "default", "what it does"), option_rows(names_of(component.options)))
        lines += reasons_table(component.reasons) if component.reasons else ["It refuses nothing.", ""]
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
        "scheduler then decides again. It asks the same of a host before it publishes a claim, and hosts that the log "
        "would refuse count under `ClaimRules` in the evidence: a claim is refused only if another one came first. "
        "Hosts of closed cells count there too (`cell unreachable`) unless a filter refused them: also if a request "
        "names them by force, or the ComputeFilter is not enabled.",
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
                f"[{weigher.name}](#{weigher.name.lower()})",
                f"`[{weigher.group}] {weigher.option}`",
                f"{weigher.default_multiplier:g}",
                "any" if weigher.least is None else f"{weigher.least:g} or more",
                f"`{weigher.key or weigher.option}`",
                "from 0" if weigher.floor == 0 else "",
                kept_text(weigher),
                *cost_cells(measured["weighers"].get(weigher.name)),
            )
            for weigher in weighers.BUILT_IN.values()
        ),
    )
    lines += costs_note(measured)
    for weigher in weighers.BUILT_IN.values():
        lines += [f"## {weigher.name}", "", prose(type(weigher).__doc__), ""]
        if weigher.direction < 0:
            lines += ["Its multiplier counts against a host.", ""]
        if weigher.zero_is_off:
            lines += ["With a multiplier of 0 in the configuration it is off, whatever aggregates say.", ""]
        lines += table(
            ("option", "default", "what it does"),
            option_rows((f"[{weigher.group}] {weigher.option}", *names_of(weigher.options))),
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
    return {"NonNegativeInteger": "natural number", "_Amount": "amount", "_Bytes": "bytes", "UUID": "UUID"}.get(
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


PAGES = {
    "filters.md": filters_text,
    "weighers.md": weighers_text,
    "options.md": options_text,
    "events.md": events_text,
    "claim-life.md": life_text,
    "cli.md": cli_text,
    "policy.md": policy_text,
    "placement-api.json": openapi.text,
}


def main():
    for name, text in PAGES.items():
        (HERE / name).write_text(text().rstrip() + "\n")


if __name__ == "__main__":
    main()
