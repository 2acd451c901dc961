"""The progress bar of every long job."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `--help` is quicker without it
    from tqdm import tqdm


def bar(
    total: int | None,
    *,
    label: str = "",
    unit: str = "img",
    done: int = 0,
    shown: bool = True,
    leave: bool = True,
) -> "tqdm":
    """A progress bar on stderr with the rate and the time left; a line per 30 s in a log file.

    Only the first process of a run shows any.

    Args:
      total: in `unit`; None where it is unknown.
      label: shown in front.
      done: of `total`, before this process began.
      leave: keep the last line on the screen.
    """
    from tqdm import tqdm

    jax = sys.modules.get("jax")  # not imported for this: a command may need none of it
    return tqdm(
        desc=label,
        total=total,
        initial=done,
        unit=unit,
        unit_scale=True,
        dynamic_ncols=True,
        smoothing=0.05,
        leave=leave,
        mininterval=0.2 if sys.stderr.isatty() else 30,
        disable=not shown or (jax is not None and jax.process_index() != 0),
        bar_format="{desc} {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} {unit} "
        "[{rate_fmt}, {remaining} left{postfix}]",
    )
