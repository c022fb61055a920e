"""Measure how fast distillation is on this machine, or reckon on paper what it takes on another."""

import argparse
import importlib
import sys

from hf_distill.cli import exit_on_input_error, show_progress

BENCHMARKS = {
    "step": "One step: a loop written by hand, the usual Trainer subclass, ours, the teacher live and cached.",
    "run": "A whole distillation on texts of real lengths, the time to build the cache included.",
    "memory": "Peak memory while training, with a live and with a cached teacher.",
    "scaling": "One process against several.",
    "plan": "Hours, memory and cache size on named hardware, from a cost model.",
}
EPILOG = "\n".join(
    [
        "benchmarks:",
        *(f"  {name:9}{text}" for name, text in BENCHMARKS.items()),
        "",
        "Each prints a Markdown table, or JSON with --json, to stdout, and its progress to stderr.",
        "On a CPU, OMP_NUM_THREADS sets the threads, and OMP_WAIT_POLICY=PASSIVE keeps those that wait out of the CPU",
        "time. `benchmark.py BENCHMARK --help` explains the options.",
    ]
)


@exit_on_input_error
def main() -> None:
    """Parse, measure, print."""
    show_progress()
    chooser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    chooser.add_argument("benchmark", choices=BENCHMARKS, metavar="BENCHMARK", help="see below")
    chooser.add_argument("options", nargs=argparse.REMAINDER, metavar="...", help="its options")
    chosen = chooser.parse_args()
    benchmark = importlib.import_module(f"hf_distill.benchmarks.{chosen.benchmark}")
    parser = argparse.ArgumentParser(
        prog=f"{chooser.prog} {chosen.benchmark}",
        description=BENCHMARKS[chosen.benchmark],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    benchmark.add_arguments(parser)
    sys.stdout.write(f"{benchmark.main(parser.parse_args(chosen.options))}\n")


if __name__ == "__main__":
    main()
