"""The command line, `ganjax COMMAND`: one module for each command, imported only when it runs."""

import importlib
import sys

from ganjax import __version__
from ganjax.commands.terminal import run_command
from ganjax.errors import UserError, suggest

COMMANDS = {
    "train": "train a system from a config, or on a folder of images",
    "sample": "draw images from a trained run",
    "edit": "change what a trained run draws: find directions of its latent space",
    "translate": "turn images into others with a trained model",
    "stylize": "give pictures the style of other pictures",
    "evaluate": "measure how good generated images are",
    "export": "write a trained network to one file",
    "prepare": "make a data set ready for training",
    "weights": "get published weights",
    "models": "list the trained models of the package",
}


def main() -> None:
    """Runs the command that the first argument names."""
    match sys.argv[1:]:
        case [] | ["-h" | "--help", *_]:
            width = max(map(len, COMMANDS))
            print("usage: ganjax COMMAND ...\n\ncommands:")
            for name, summary in COMMANDS.items():
                print(f"  {name:{width}}  {summary}")
            print("\n`ganjax COMMAND --help` explains a command.")
        case ["--version"]:
            print(f"ganjax {__version__}")
        case [name, *words]:
            run(name, words)


def run(name: str, words: list[str]) -> None:
    """Runs one command; what the user can mend ends in one line and status 2."""

    def command(words: list[str]) -> None:
        if name not in COMMANDS:
            raise UserError(f"ganjax has no command {name!r}; {suggest(name, COMMANDS)}")
        importlib.import_module(f"ganjax.commands.{name}").main(words)

    run_command(command, words)
