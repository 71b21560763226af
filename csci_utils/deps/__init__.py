"""What a Python project declares, locks, has installed and imports; `python -m csci_utils.deps` on the command line."""
