"""What auxlearn costs, as ratios to the same work done otherwise, measured in turns in one process.

`python -m benchmarks` prints the table, `python -m benchmarks step tiles` some of its lines. Every module here that is
named in `benchmarks.__main__.NAMES` has one function, `run(rounds)`, which returns lines of the table.
"""
