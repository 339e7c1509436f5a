"""`python -m flowedit`, where the script `flowedit` is not on the path."""

from flowedit.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
