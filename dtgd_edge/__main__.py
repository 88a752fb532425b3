"""`python -m dtgd_edge`: the `dtgd-edge` command, as torchrun starts it."""

from dtgd_edge.cli.app import main

if __name__ == "__main__":
    main()
