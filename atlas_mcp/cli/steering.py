"""What pages show was written by others too: signs by which a text would steer the terminal are left out of it.

rich leaves out the bell and the like, but not what begins a sequence of commands or turns the direction of writing.
"""

from __future__ import annotations

from rich import control

_STEERING = (
    *range(9),
    *range(11, 32),
    *range(127, 160),
    0x2028,
    0x2029,
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
)


def leave_out_steering() -> None:
    """Have rich leave them out of every text from now on. Colours are its own, and stay."""
    control._CONTROL_STRIP_TRANSLATE.update(dict.fromkeys(_STEERING))  # pyright: ignore[reportPrivateUsage]  # no door
