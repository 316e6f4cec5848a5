"""Search a space of settings: `python run_search.py --space temps.yaml`."""

from cmd_tune.__main__ import run_search_main

if __name__ == "__main__":
    run_search_main()
