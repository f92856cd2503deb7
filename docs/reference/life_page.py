"""claim-life.md: the states of a claim, from the table of :mod:`nova_sched.scheduler.claim_life`."""

from as_markdown import GENERATED, table

from nova_sched.scheduler import claim_life


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
