"""The command line, as `python -m localstore`."""

from importlib import import_module

if __name__ == "__main__":
    import_module("localstore_cli.app").main()  # the folder of this package has another name
