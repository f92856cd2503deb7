"""The terminal view of ``top``: panels of lines that nova_sched.cli.top_lines makes."""

from textual.app import App
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Footer, Static

from nova_sched.cli import top_lines


class TopApp(App):
    """The view of ``live``, which ``feed`` fills (see nova_sched.replay.logs.feeds). It is drawn every ``refresh_s``
    seconds, for the time that ``clock()`` returns."""

    CSS = """
    #head { height: auto; padding: 0 1; text-style: bold; }
    #cells { height: auto; padding: 1 1 0 1; }
    Horizontal { height: auto; }
    #reasons, #hosts { width: 1fr; height: auto; padding: 1 1 0 1; }
    #schedulers { height: auto; padding: 1 1 0 1; }
    """
    TITLE = "nova-sched-replay top"
    BINDINGS = [
        ("q", "quit", "Quit"),
        ("p", "pause", "Pause"),
        ("s", "sort", "Sort hosts"),
        ("c", "next_cell", "Next cell"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, live, feed, clock, refresh_s: float = 1.0):
        super().__init__()
        self.live, self.feed, self.clock, self.refresh_s = live, feed, clock, refresh_s
        self.paused = self.by_name = False
        self.cell = None

    def compose(self):
        with VerticalScroll():
            yield Static(id="head", markup=False)
            yield Static(id="cells", markup=False)
            with Horizontal():
                yield Static(id="reasons", markup=False)
                yield Static(id="hosts", markup=False)
            yield Static(id="schedulers", markup=False)
        yield Footer()

    def on_mount(self):
        self.tick()
        self.set_interval(self.refresh_s, self.tick)

    def tick(self) -> None:
        """Take what came, and draw. (While it is paused what comes is taken all the same: a reader must
        not fall behind.)"""
        now_ns = self.clock()
        self.feed.pump(now_ns)
        if not self.paused:
            self.draw(now_ns)

    def draw(self, now_ns) -> None:
        """Draw what there is."""
        view = self.live.view(now_ns, self.cell)
        for name, lines in (
            ("head", top_lines.head_lines(view, self.cell)),
            ("cells", [*top_lines.cell_lines(view), *top_lines.service_lines(view)]),
            ("reasons", top_lines.reason_lines(view)),
            ("hosts", top_lines.host_lines(view, by_name=self.by_name)),
            ("schedulers", top_lines.scheduler_lines(view)),
        ):
            self.query_one(f"#{name}", Static).update("\n".join(lines))

    def action_pause(self):
        """Pause, or continue."""
        self.paused = not self.paused
        self.sub_title = "paused" if self.paused else ""

    def action_sort(self):
        """Sort hosts by events, or by name."""
        self.by_name = not self.by_name
        self.draw(self.clock())

    def action_next_cell(self):
        """Show all cells, then each cell alone."""
        cells = [None, *(cell.cell for cell in self.live.view(self.clock()).cells)]
        self.cell = cells[(cells.index(self.cell) + 1) % len(cells)]
        self.draw(self.clock())
