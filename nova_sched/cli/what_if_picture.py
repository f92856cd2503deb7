"""The picture of a what-if: amounts over time. Shares would mislead, because a change may change the capacity."""

import textwrap

from rpc_api import errors
from rpc_api.wording import number_of

#: Field of a Sample, title of its panel, unit of its axis.
PANELS = (
    ("used", "VCPUs in use", "VCPUs"),
    ("hosts", "hosts with instances", "hosts"),
    ("refused", "instances refused so far", "instances"),
    ("stranded", "stranded VCPUs", "VCPUs"),
)
#: Column -> colour, style and width of its line; the wide line is drawn first and stays visible below the others.
LINES = {"recorded": ("0.65", "-", 4.0), "re-run": ("tab:blue", "--", 1.6), "what-if": ("tab:red", "-", 1.6)}
#: (Nanoseconds, name, the unit is used from this number of it on).
UNITS = ((86_400 * 10**9, "days", 3), (3_600 * 10**9, "hours", 3), (60 * 10**9, "minutes", 5), (10**9, "seconds", 0))
WIDTH = 110


def pyplot():
    """Return matplotlib's pyplot, for files; UsageError if it is not installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as found
    except ImportError:
        raise errors.UsageError(
            "the picture needs matplotlib, which is not installed; pip install "
            "'nova_sched[plot]', or leave --picture out"
        ) from None
    return found


def draw(path, question: str, tallies: dict) -> None:
    """Write the picture of the Tally of each column; UsageError if the file cannot be written."""
    plots = pyplot()
    figure, axes = plots.subplots(2, 2, figsize=(13, 8), layout="constrained", sharex=True)
    times = [sample.at_ns for tally in tallies.values() for sample in tally.samples]
    first, unit = min(times, default=0), unit_of(max(times, default=0) - min(times, default=0))
    for panel, of_panel in zip(axes.flat, PANELS, strict=True):
        _draw_panel(panel, of_panel, tallies, first, unit)
    for panel in axes[1]:
        panel.set_xlabel(f"{unit[1]} since the first record")
    figure.suptitle("\n".join(textwrap.wrap(f"what if: {question}", WIDTH)), fontsize=14)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize=11)
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as fault:
        raise errors.UsageError(
            f"--picture {path} cannot be written ({fault}); name another file, such as what-if.png"
        ) from None
    finally:
        plots.close(figure)


def unit_of(span_ns: int):
    """Return the unit of UNITS for a span of time."""
    return next(unit for unit in UNITS if span_ns >= unit[0] * unit[2])


def _draw_panel(panel, of_panel, tallies, first, unit):
    field, title, axis = of_panel
    for name, tally in tallies.items():
        colour, style, width = LINES[name]
        panel.plot(
            [(sample.at_ns - first) / unit[0] for sample in tally.samples],
            [getattr(sample, field) for sample in tally.samples],
            style,
            color=colour,
            linewidth=width,
            drawstyle="steps-post",
            label=label_of(name, tally),
        )
    panel.set_title(title)
    panel.set_ylabel(axis)
    panel.set_ylim(0, max(panel.get_ylim()[1], 1))
    panel.set_xlim(left=0)
    # Whole VCPUs, hosts and instances: a tick between two of them would have the number of one of them.
    panel.yaxis.get_major_locator().set_params(integer=True)
    panel.yaxis.set_major_formatter("{x:,.0f}")
    panel.grid(alpha=0.3)


def label_of(name: str, tally) -> str:
    """Return the line of a column in the legend."""
    last = tally.samples[-1]
    return (
        f"{name}: {tally.asked:,} asked, {len(tally.placed):,} placed, {tally.refused.total():,} refused; at the end "
        f"{last.used:,} VCPUs in use on {number_of(last.hosts, 'host', form=',')}, {last.stranded:,} stranded"
    )
