"""``python -m geoseg``: the command line."""

from geoseg.cli.app import main

if __name__ == "__main__":
    main()
