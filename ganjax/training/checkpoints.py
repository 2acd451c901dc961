"""Checkpoints of a run: asynchronous, atomic, with a digest per array that loading verifies."""

import contextlib
import logging
import math
import sys
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from ganjax.config import RENAMED
from ganjax.errors import UserError
from ganjax.paths import absolute
from ganjax.training.state import Trained
from ganjax.trees import named_leaves


def _hide_left_alone() -> None:
    """Hides what comes of a checkpoint's reads and writes that Orbax leaves alone.

    It waits for the first of them that fails, whose error it raises. What the others end in goes to
    logs, warnings and Python's hook for errors that nobody can catch.
    """
    # Normal saves are reported at warning level.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(lambda record: not _of_orbax(record.pathname))
    never = r"coroutine '(Store\._get_|_read_)\w+' was never awaited"
    warnings.filterwarnings("ignore", never, RuntimeWarning)
    report = sys.unraisablehook

    def hook(end) -> None:
        code = getattr(end.object, "cr_code", None)  # of coroutines
        late = end.object is None and "Event loop is closed" in str(end.exc_value)
        if not late and not (code and _of_orbax(code.co_filename)):
            report(end)

    sys.unraisablehook = hook


def _of_orbax(path: str) -> bool:
    return "orbax" in Path(path).parts


_hide_left_alone()


class DamagedCheckpoint(Exception):
    """A checkpoint that cannot be read or whose arrays are not the saved ones."""


class Checkpoints:
    """The checkpoints of one run in `folder`/STEP.

    Args:
      folder: made when missing.
      keep: newest checkpoints to keep.
      best: an evaluation metric whose best checkpoint is kept too: its name, and whether lower is
        better.
    """

    def __init__(self, folder: Path, *, keep: int = 3, best: tuple[str, bool] | None = None):
        policies = ocp.training.preservation_policies
        policy = policies.LatestN(n=keep)
        if best:
            name, lower_is_better = best
            worst = float("inf" if lower_is_better else "-inf")
            best_one = policies.BestN(
                # Of checkpoints that were saved when other metrics were measured.
                get_metric_fn=lambda metrics: metrics.get(name, worst),
                reverse=lower_is_better,
                n=1,
                keep_checkpoints_without_metrics=False,
            )
            policy = policies.AnyPreservationPolicy([policy, best_one])
        self.folder = absolute(folder)
        self._pending: tuple[int, Any] | None = None
        self._undescribed: list[int] = []
        settings = {
            "preservation_policy": policy,
            "cleanup_tmp_directories": jax.process_index() == 0,
        }
        try:
            self._checkpointer = ocp.training.Checkpointer(self.folder, **settings)
        except ValueError:  # one whose own description is damaged keeps Orbax from opening any
            self._undescribed = _undescribed(self.folder)
            for step in self._undescribed:
                _move_aside(self.folder, step)
            self._checkpointer = ocp.training.Checkpointer(self.folder, **settings)

    @classmethod
    def read_only(cls, folder: Path) -> "Checkpoints":
        """Opens the checkpoints of a run that may be going on, and leaves everything in place.

        Raises:
          UserError: there is no such folder, or one of them lacks its description.
        """
        if not folder.is_dir():
            raise UserError(f"{folder} does not exist; train until the first save")
        checkpoints = cls.__new__(cls)
        checkpoints.folder = absolute(folder)
        checkpoints._pending = None
        everything = ocp.training.preservation_policies.PreserveAll()
        try:
            checkpoints._checkpointer = ocp.training.Checkpointer(
                checkpoints.folder, preservation_policy=everything
            )
        except ValueError as error:
            steps = ", ".join(map(str, _undescribed(checkpoints.folder))) or "unknown"
            raise UserError(
                f"the checkpoint of step {steps} in {folder} is damaged; its training puts it "
                "aside when it is resumed, or move it away"
            ) from error
        return checkpoints

    @property
    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, oldest first."""
        return sorted(checkpoint.step for checkpoint in self._checkpointer.checkpoints)

    @property
    def metrics(self) -> dict[int, Mapping[str, float]]:
        """What the checkpoints that were saved with metrics were saved with, by step."""
        found = sorted(self._checkpointer.checkpoints, key=lambda checkpoint: checkpoint.step)
        return {checkpoint.step: checkpoint.metrics for checkpoint in found if checkpoint.metrics}

    def save(self, step: int, state: Any, *, metrics: Mapping[str, float] | None = None) -> None:
        """Starts saving `state` as `step`; training may go on and donate it at once.

        Raises:
          UserError: the save before this one has failed.
        """
        self.wait()
        arrays = named_leaves(state)
        # One without a finite value is no best, and JSON has no other numbers.
        metrics = {name: x for name, x in (metrics or {}).items() if math.isfinite(x)}
        try:
            self._pending = (
                step,
                self._checkpointer.save_checkpointables_async(
                    step,
                    {"state": arrays},
                    force=True,
                    metrics=metrics or None,
                    custom_metadata={"digests": _digests(arrays)},
                ),
            )
        except (OSError, ValueError) as error:
            raise self._failure(step, error) from error

    def wait(self) -> None:
        """Waits until the save under way is complete.

        Raises:
          UserError: it failed; the checkpoints before it are untouched.
        """
        if self._pending is None:
            return
        (step, response), self._pending = self._pending, None
        try:
            response.result()
        except (OSError, ValueError) as error:
            raise self._failure(step, error) from error

    def _failure(self, step: int, error: Exception) -> UserError:
        kept = f"the checkpoint of step {self.steps[-1]} is intact" if self.steps else "none exists"
        reason = str(error).strip().splitlines()[-1][:200] if str(error).strip() else repr(error)
        if "No space left" in str(error) or "Disk quota" in str(error):
            reason = "the disk is full"
        return UserError(
            f"saving step {step} to {self.folder} failed: {reason}; {kept}; "
            "make room and run the same command again to go on from it"
        )

    def load(self, step: int, like: Any) -> Any:
        """Loads the state of `step`.

        Args:
          like: a pytree of the state's structure with arrays or `jax.ShapeDtypeStruct`s; their
            shardings, by default one device, are those of the result.

        Raises:
          DamagedCheckpoint: files are missing, cut short or changed, or hold another structure.
        """
        names = named_leaves(like)
        arrays = self._load(step, lambda saved: names, partial=False)
        return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in names])

    def load_trained(self, step: int, average: Literal["ema", "live"]) -> Trained:
        """Loads what samples of `step` are drawn with, and nothing that only training needs.

        Args:
          average: "ema", the running averages, or "live", the networks themselves.

        Raises:
          DamagedCheckpoint: see `load`.
        """

        def chosen(saved: Mapping[str, Any]) -> dict[str, Any]:
            averaged = {name.split("/")[1] for name in saved if name.startswith("averages/")}
            first = [f"averages/{role}/" for role in averaged]
            if average == "live":
                parts = ("params", "statistics")
                first = [f"networks/{role}/{part}/" for role in averaged for part in parts]
            starts = ("images", *first)
            return {name: array for name, array in saved.items() if name.startswith(starts)}

        arrays = self._load(step, chosen, partial=True)
        images = arrays.pop("images")
        variables: dict[str, Any] = {}
        for name, array in arrays.items():
            _, role, collection, *path = name.split("/")
            if collection == "statistics":
                collection = "batch_stats"
            *parents, last = path
            branch = variables.setdefault(role, {}).setdefault(collection, {})
            for parent in parents:
                branch = branch.setdefault(parent, {})
            branch[last] = array
        return Trained(images, variables)

    def _load(
        self,
        step: int,
        choose: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        *,
        partial: bool,
    ) -> dict[str, jax.Array]:
        """The arrays that `choose` takes of those saved, by name; all of them, unless `partial`."""
        one_device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        loading = ocp.options.PyTreeOptions.Loading(partial_load=partial)
        options = ocp.options.PyTreeOptions(loading=loading)
        try:
            digests = self._checkpointer.metadata(step).custom_metadata["digests"]
            described = self._checkpointer.checkpointables_metadata(step).metadata["state"]
            spelled = {_renamed(name): name for name in described}
            saved = {name: described[old] for name, old in spelled.items()}
            abstract = {}
            for name, x in choose(saved).items():
                if name in saved and saved[name].shape != x.shape:
                    raise ValueError(f"{name} has shape {saved[name].shape}, not {x.shape}")
                abstract[spelled.get(name, name)] = jax.ShapeDtypeStruct(
                    x.shape, x.dtype, sharding=getattr(x, "sharding", None) or one_device
                )
            with ocp.Context(pytree_options=options):
                arrays = self._checkpointer.load_checkpointables(step, {"state": abstract})["state"]
        except Exception as error:  # a damaged file ends in any of Orbax's and TensorStore's errors
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise DamagedCheckpoint(f"step {step} cannot be read: {reason}") from error
        wrong = [name for name, digest in _digests(arrays).items() if digests.get(name) != digest]
        if wrong:
            raise DamagedCheckpoint(f"step {step} holds changed bytes in {wrong[0]}")
        return {_renamed(name): array for name, array in arrays.items()}

    def load_newest(self, like: Any) -> tuple[Any, list[str]] | None:
        """The state of the newest good checkpoint, with a line on each damaged one passed over.

        Damaged checkpoints move to `folder`/../damaged, where they are out of the way but not
        lost. Returns None where there are no checkpoints at all.

        Raises:
          UserError: there are checkpoints, and none can be read.
        """
        damages = []
        undescribed = [f"step {step} has a damaged description" for step in self._undescribed]
        for step in reversed(self.steps):
            try:
                state = self.load(step, like)
            except DamagedCheckpoint as damage:
                damages.append((step, str(damage)))
                continue
            self._set_aside([step for step, _ in damages])
            return state, undescribed + [text for _, text in damages]
        if damages or undescribed:
            reason = damages[0][1] if damages else undescribed[0]
            raise UserError(
                f"no checkpoint in {self.folder} can be read ({reason}); restore the folder "
                "from a copy, or start a new run with another --workdir"
            )
        return None

    def _set_aside(self, steps: list[int]) -> None:
        if not steps or jax.process_index() != 0:
            return
        for step in steps:
            _move_aside(self.folder, step)
        self._checkpointer.reload()

    def digest(self, step: int) -> str:
        """One short name for the content of `step`: eight hexadecimal digits."""
        digests = self._checkpointer.metadata(step).custom_metadata["digests"]
        text = ",".join(f"{name}={digests[name]}" for name in sorted(digests))
        return f"{zlib.crc32(text.encode()):08x}"

    def close(self) -> None:
        """Waits for the save under way and releases the folder."""
        try:
            self.wait()
        finally:
            # Orbax raises a failed save's error once more, which `wait` has told already.
            with contextlib.suppress(OSError, ValueError):
                self._checkpointer.close()


def _undescribed(folder: Path) -> list[int]:
    """Steps whose checkpoints Orbax cannot tell anything of."""
    broken = []
    for path in folder.iterdir():
        if path.name.isdigit():
            try:
                ocp.checkpointables_metadata(path)
            except (ValueError, TypeError, KeyError):
                broken.append(int(path.name))
    return sorted(broken)


def _move_aside(folder: Path, step: int) -> None:
    aside, number = folder.parent / "damaged", 0
    aside.mkdir(exist_ok=True)
    while (target := aside / f"{step}.{number}").exists():
        number += 1
    with contextlib.suppress(FileNotFoundError):  # another process has just done it
        (folder / str(step)).rename(target)


def _renamed(name: str) -> str:
    """The name that an array has today, of one that an older version saved."""
    return "/".join(RENAMED.get(part, part) for part in name.split("/"))


def _digests(arrays: Mapping[str, Any]) -> dict[str, str]:
    def digest(x) -> str:
        local = x.addressable_data(0) if isinstance(x, jax.Array) else x
        array = np.ascontiguousarray(local)
        return f"{array.dtype}{list(array.shape)}:{zlib.crc32(array.view(np.uint8).data):08x}"

    return {name: digest(x) for name, x in arrays.items()}
