"""`python -m fusion_nb.cli`: the command line."""

from fusion_nb.cli import main

if __name__ == "__main__":
    main()
