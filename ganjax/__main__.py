"""`python -m ganjax` is the command line `ganjax`."""

from ganjax.commands import main

main()
