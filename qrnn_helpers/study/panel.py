"""Live panels: move a knob and a training starts anew, with its progress, its curve and a button that stops it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from threading import Event, Thread

import ipywidgets as widgets
import pandas as pd
from matplotlib.figure import Figure

from ..checks import check_count
from ..show import line_style, picture
from .arms import ARMS
from .methods import Run, train
from .race import ENTRANTS, SEEDS, entrant, race

__all__ = ["RacePanel", "TrainingPanel"]


METHODS = {"SPSA": "spsa", "parameter-shift": "shift"}

Watch = Callable[[dict[str, float]], object]

Curve = tuple[str, pd.DataFrame]
"""Label, and validation errors by what was spent."""


class Stopped(Exception):
    """The reader wants no more of this training."""


class LivePanel(widgets.VBox):
    """Knobs that start a training; every move of one trains anew.  The last curves stay, the newest boldest.

    A training runs in a thread of its own: the kernel stays free for the button that stops it, and a knob that moves
    meanwhile stops it, too.  Nothing is shared but the panel, which shows what was spent, the curve as it grows, and
    any error: a notebook shows nothing of what a callback or a thread raises.

    Who makes a panel says what it trains: ``axis``, a column of the curve, ``budget`` and ``train``.
    """

    axis = "circuits"

    def __init__(self, knobs: dict[str, widgets.Widget], remembered: int):
        self.remembered = check_count("remembered", remembered)
        self.knobs = knobs
        self.curves: list[Curve] = []
        self.bar = widgets.FloatProgress(max=1.0, description="spent", style={"description_width": "9em"})
        self.stopper = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.note = widgets.HTML()
        self.curve = widgets.HTML()
        self._thread: Thread | None = None
        self._stop = Event()
        self.stopper.on_click(lambda _: self.stop())
        for knob in knobs.values():
            knob.observe(lambda _: self.start(), "value")
        controls = widgets.VBox([*knobs.values(), widgets.HBox([self.bar, self.stopper])])
        controls.add_class("live-knobs")  # pages without a kernel find them by it
        super().__init__([controls, self.note, self.curve])
        self._run(self._setting(), self._stop)  # the first run ends before the panel is shown, and so is on the page

    def budget(self, setting: dict) -> int:
        """What a run may spend, in units of the axis."""
        raise NotImplementedError

    def train(self, setting: dict, watch: Watch) -> pd.DataFrame:
        """The curve of a run; ``watch`` wants to see a row after every update."""
        raise NotImplementedError

    def start(self) -> None:
        """Train anew with the knobs as they stand; what was under way ends first."""
        self.stop()
        self.wait()
        self._stop = Event()
        self._thread = Thread(target=self._run, args=(self._setting(), self._stop), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the training after the update in hand."""
        self._stop.set()

    def wait(self) -> None:
        """Until no training is under way."""
        if self._thread is not None:
            self._thread.join()

    def _setting(self) -> dict:
        return {name: knob.value for name, knob in self.knobs.items()}

    def _run(self, setting: dict, stop: Event) -> None:
        """One training from its start to its end, whichever that is."""
        label = label_of(setting)
        scores: list[dict[str, float]] = []

        def watch(row: dict[str, float]) -> None:
            self._follow(row, setting, label, scores)
            if stop.is_set():
                raise Stopped

        self.note.value = f"training with {escape(label)} ..."
        self.bar.value = 0.0
        self.stopper.disabled = False
        try:
            self._keep(label, self.train(setting, watch))
            self.bar.value, self.note.value = 1.0, ""
        except Stopped:
            self._keep(f"{label} (stopped)", pd.DataFrame(scores))
            self.note.value = f'<p role="status"><b>Stopped</b> at {self.bar.value:.0%} of the budget.</p>'
        except (Exception, KeyboardInterrupt) as error:
            self.curve.value = ""
            words = escape(f"{type(error).__name__}: {error}")
            self.note.value = f'<p role="alert"><b>No curve for {escape(label)}.</b> {words}</p>'
        self.stopper.disabled = True

    def _follow(self, row: dict[str, float], setting: dict, label: str, scores: list[dict[str, float]]) -> None:
        """Show what an update has come to."""
        self.bar.value = round(min(1.0, row[self.axis] / self.budget(setting)), 2)
        if "validation_nrmse" in row:
            scores.append(row)
            self._show([*self.curves, (label, pd.DataFrame(scores))])

    def _keep(self, label: str, curve: pd.DataFrame) -> None:
        """Add a curve to those that stay; one that was stopped before its first score is none."""
        if len(curve):
            curves = [*self.curves, (label, curve)][-self.remembered :]
            self._show(curves)
            self.curves = curves

    def _show(self, curves: list[Curve]) -> None:
        label, curve = curves[-1]
        final = curve["validation_nrmse"].dropna().iloc[-1]
        words = f"Validation error against {self.axis} for the last settings; the newest, {label}, is at {final:.3f}"
        self.curve.value = picture(self._figure(curves[-self.remembered :]), words)

    def _figure(self, curves: list[Curve]) -> Figure:
        figure = Figure()  # no pyplot: that is for the kernel's own thread
        axis = figure.subplots()
        for age, (label, curve) in enumerate(reversed(curves)):
            seen = curve.dropna(subset="validation_nrmse")
            axis.plot(seen[self.axis], seen["validation_nrmse"], label=label, alpha=1 / (1 + age), **line_style(age))
        axis.set(xlabel=self.axis, ylabel="validation NRMSE", xlim=(0, 1.02 * self.budget(self._setting())))
        axis.legend(fontsize=8)
        return figure


class TrainingPanel(LivePanel):
    """Knobs for a short training run on the patch forecast; ``circuits`` is the budget of a run.

    Each run is the study's own (`methods.train`), so equal knobs give equal curves.
    """

    def __init__(self, circuits: int = 6_000, remembered: int = 4):
        self.circuits = check_count("circuits", circuits)
        super().__init__(training_knobs(), remembered)

    def budget(self, setting: dict) -> int:
        return self.circuits

    def train(self, setting: dict, watch: Watch) -> pd.DataFrame:
        return train(Run(budget=self.circuits, batch=8, **setting), watch=watch)[1]


class RacePanel(LivePanel):
    """Knobs for a race at a number of shots: runs of all ``seeds`` side by side; the curve is their geometric mean.

    What no knob says (batch, directions, c) is what the study chose for the method at 1e5 shots (`race.entrant`).
    """

    axis = "shots"

    def __init__(self, seeds: Sequence[int] = SEEDS, remembered: int = 5):
        self.seeds = seeds
        super().__init__(race_knobs(), remembered)

    def budget(self, setting: dict) -> int:
        return setting["budget"]

    def train(self, setting: dict, watch: Watch) -> pd.DataFrame:
        chosen = entrant(setting["method"], shots=setting["shots"], rate=setting["rate"])
        return race(chosen, setting["budget"], self.seeds, watch=watch)


STYLE = {"description_width": "9em"}

SLIDER = {"continuous_update": False, "style": STYLE}
"""A run starts when a slider is let go, not at every place it passes."""


def training_knobs() -> dict[str, widgets.Widget]:
    """The knobs by the names of `Run`'s arguments."""
    return {
        "method": widgets.Dropdown(options=METHODS, description="method", style=STYLE),
        "shots": widgets.Dropdown(options=[0, 64, 1024], description="shots (0: exact)", style=STYLE),
        "directions": widgets.IntSlider(8, 1, 16, description="directions", **SLIDER),
        "rate": widgets.FloatLogSlider(0.03, min=-3, max=0, step=0.25, description="learning rate", **SLIDER),
        "seed": widgets.IntSlider(0, 0, 9, description="seed", **SLIDER),
    }


def race_knobs() -> dict[str, widgets.Widget]:
    methods = {ARMS[arm]: arm for arm in ENTRANTS}
    budgets = {f"{count:,}": count for count in (30_000, 100_000, 300_000, 1_000_000)}
    return {
        "method": widgets.Dropdown(options=methods, value="spsa", description="method", style=STYLE),
        "shots": widgets.Dropdown(options=[1, 4, 16, 64, 256], value=4, description="shots a circuit", style=STYLE),
        "budget": widgets.Dropdown(options=budgets, value=30_000, description="shots of a run", style=STYLE),
        "rate": widgets.FloatLogSlider(0.03, min=-3, max=0, step=0.25, description="learning rate", **SLIDER),
    }


def label_of(setting: dict) -> str:
    """The setting in words."""
    forms = {"rate": ".3g", "budget": ","}
    return ", ".join(f"{name} {format(value, forms.get(name, ''))}" for name, value in setting.items())
