"""A live panel: move a knob and `fit` runs anew."""

from __future__ import annotations

from html import escape

import ipywidgets as widgets
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..checks import check_integer
from ..show import line_style, picture
from .methods import Run, train

__all__ = ["TrainingPanel"]


METHODS = {"SPSA": "spsa", "parameter-shift": "shift"}


class TrainingPanel(widgets.VBox):
    """Knobs for a short training run on the patch forecast; every move of one trains anew.

    ``circuits`` is the budget of a run.  The last curves stay in the picture, numbered, the newest boldest.
    Each run is the study's own (`methods.train`), so equal knobs give equal curves.
    """

    def __init__(self, circuits: int = 6_000, remembered: int = 4):
        self.circuits = check_integer("circuits", circuits, minimum=1)
        self.remembered = check_integer("remembered", remembered, minimum=1)
        self.curves: list[tuple[str, pd.DataFrame]] = []
        self.knobs = knobs()
        self.note = widgets.HTML()
        self.curve = widgets.HTML()
        for knob in self.knobs.values():
            knob.observe(lambda _: self.rerun(), "value")
        super().__init__([*self.knobs.values(), self.note, self.curve])
        self.rerun()

    def rerun(self) -> pd.DataFrame | None:
        """Train with the knobs as they stand, and show the curve among the last ones; None if that fails.

        A notebook shows nothing of what a knob's callback raises.  So an error takes the place of the picture, and
        so does an interruption: what the kernel's stop button does.
        """
        setting = {name: knob.value for name, knob in self.knobs.items()}
        label = label_of(setting)
        self.note.value = f"training anew with {label} ..."
        try:
            _, curve = train(Run(budget=self.circuits, batch=8, **setting))
            self.curves = [*self.curves, (label, curve)][-self.remembered :]
            self.curve.value = picture(self._figure(), self._description())
        except (Exception, KeyboardInterrupt) as error:
            words = escape(f"{type(error).__name__}: {error}")
            self.curve.value = ""
            self.note.value = f'<p role="alert"><b>No curve for {label}.</b> {words}</p>'
            return None
        self.note.value = ""
        return curve

    def _description(self) -> str:
        label, curve = self.curves[-1]
        final = curve["validation_nrmse"].dropna().iloc[-1]
        return f"Validation error against circuits for the last settings; the newest, {label}, ends at {final:.3f}"

    def _figure(self) -> Figure:
        figure, axis = plt.subplots()
        for age, (label, curve) in enumerate(reversed(self.curves)):
            seen = curve.dropna(subset="validation_nrmse")
            axis.plot(seen["circuits"], seen["validation_nrmse"], label=label, alpha=1 / (1 + age), **line_style(age))
        axis.set(xlabel="circuits", ylabel="validation NRMSE", xlim=(0, self.circuits * 1.02))
        axis.legend(fontsize=8)
        return figure


def knobs() -> dict[str, widgets.Widget]:
    """The knobs by the names of `Run`'s arguments.  A run starts when one is let go, not at every place it passes."""
    style = {"description_width": "9em"}
    shared = {"continuous_update": False, "style": style}
    return {
        "method": widgets.Dropdown(options=METHODS, description="method", style=style),
        "shots": widgets.Dropdown(options=[0, 64, 1024], description="shots (0: exact)", style=style),
        "directions": widgets.IntSlider(8, 1, 16, description="directions", **shared),
        "rate": widgets.FloatLogSlider(0.03, min=-3, max=0, step=0.25, description="learning rate", **shared),
        "seed": widgets.IntSlider(0, 0, 9, description="seed", **shared),
    }


def label_of(setting: dict) -> str:
    """The setting in words."""
    words = {name: f"{value:.3g}" if name == "rate" else value for name, value in setting.items()}
    return ", ".join(f"{name} {value}" for name, value in words.items())
