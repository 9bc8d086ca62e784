"""Entry point of the command ``taskloom``, and of ``python -m taskloom``."""

from taskloom.cli.app import app
from taskloom.cli.cluster.choice import called_by_kubectl


def main() -> None:
    """Run the command line."""
    app(prog_name="kubectl taskloom" if called_by_kubectl() else "taskloom")


if __name__ == "__main__":
    main()
