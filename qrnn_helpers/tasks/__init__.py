"""What is learned, and how it is scored: windows, patches, modes, observers, closed loops, metrics.

A task is a file of its own: a function that cuts data into windows and returns a `Task`, pairs (x, y) of tensors
(windows, steps, features) for train, validation and test, with the scalings of x and y from train alone.
Every model, `score` and the baselines take any `Task`; a subclass adds what its own answers are good for.
"""

from .closed_loops import closed_loop, rollout, rollouts, starts, teacher_forced
from .lorenz import LorenzObserver, lorenz_observer
from .metrics import climate, mean_interval, nrmse, nrmse_by_lead, spectrum, valid_prediction_time, vpt_summary
from .modes import fourier_modes, reduced_forecast
from .observers import CellObserver, in_cells, observer
from .patches import PatchForecast, next_field, patch_forecast
from .slices import SliceForecast, slice_forecast
from .windows import PARTS, Fitted, Pair, Predict, Task, check_task, score

__all__ = [
    "CellObserver",
    "Fitted",
    "LorenzObserver",
    "PARTS",
    "Pair",
    "PatchForecast",
    "Predict",
    "SliceForecast",
    "Task",
    "check_task",
    "climate",
    "closed_loop",
    "fourier_modes",
    "in_cells",
    "lorenz_observer",
    "mean_interval",
    "next_field",
    "nrmse",
    "nrmse_by_lead",
    "observer",
    "patch_forecast",
    "reduced_forecast",
    "rollout",
    "rollouts",
    "score",
    "slice_forecast",
    "spectrum",
    "starts",
    "teacher_forced",
    "valid_prediction_time",
    "vpt_summary",
]
