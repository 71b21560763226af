"""`python -m csci_utils.deps`."""

from csci_utils.deps.cli import main

if __name__ == "__main__":
    main()
