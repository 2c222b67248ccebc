"""What pages show: figures in one style, numbers in prose, frames to play, widgets that compute in the page."""

from .explorer import cost_explorer
from .frame_player import picture, player
from .style import line_style, tell, use_house_style
from .widget import page_widget

__all__ = [
    "cost_explorer",
    "line_style",
    "page_widget",
    "picture",
    "player",
    "tell",
    "use_house_style",
]
