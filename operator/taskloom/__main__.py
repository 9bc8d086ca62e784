"""Entry point of the command ``taskloom``, and of ``python -m taskloom``."""

from taskloom.cli.app import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
