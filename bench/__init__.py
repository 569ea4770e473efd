"""How fast Darkroom is: one bench a file, each run alone by `python -m bench.NAME`.  docs/PERFORMANCE.md says more."""
