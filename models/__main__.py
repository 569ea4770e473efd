"""`python -m models` is `darkroom-models`."""

from models.cli import main

if __name__ == "__main__":
    main()
