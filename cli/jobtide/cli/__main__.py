"""`python -m jobtide.cli`: the same as the `jobtide` script, for processes that start each other."""

from jobtide.cli.main import main

main()
