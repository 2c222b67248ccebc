"""What pages show: figures in one style, numbers in prose, frames to play."""

from .frame_player import picture, player
from .style import line_style, tell, use_house_style

__all__ = [
    "line_style",
    "picture",
    "player",
    "tell",
    "use_house_style",
]
