"""Run the command line as `python -m cotdrift`."""

from cotdrift.cli import main

main()
