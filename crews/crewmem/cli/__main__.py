"""`python -m crewmem.cli`: the program `crewmem`, by the interpreter that runs it."""

from crewmem.cli import main

main()
