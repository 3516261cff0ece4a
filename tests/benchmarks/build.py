"""Builds the config `nodule` at 512 pixels by this package, by a plain TFDS builder and by a hand-written loop.

    python tests/benchmarks/build.py [--release DIR]

Each way runs in a process of its own, in turn; before it is timed it builds sixty images, so that imports and
compilation are start-up, a column of their own. Ratios are of the same round; in brackets are the smallest and the
largest. Memory is the most that the process had above what importing TensorFlow takes; read is what it read, in times
the release's size; extra disk the most that lay there above the finished dataset, in per cent of it.
"""

from pathlib import Path

from releases import arguments, repeated
from side_by_side import build, in_turn, median, table

if __name__ == "__main__":
    options = arguments(__doc__, images=1000, rounds=3).parse_args()
    layouts = ("folder", "tar.gz")
    with (
        repeated(options.release, options.images, layouts) as releases,
        repeated(options.release, 60, layouts) as small,
    ):
        sizes = {layout: sum(p.stat().st_size for p in Path(f).rglob("*")) for layout, f in releases.items()}

        def way(name: str, layout: str, workers: int | None = None):
            def run():
                result = build(name, releases[layout], small[layout], workers)
                return result | {"times_read": result["read"] / sizes[layout]}

            return run

        ways = {
            "package, folder, 2 workers": way("package", "folder", 2),
            "package, folder, 1 worker": way("package", "folder", 1),
            "package, tar.gz, 2 workers": way("package", "tar.gz", 2),
            "package, tar.gz, 1 worker": way("package", "tar.gz", 1),
            "hand-written loop": way("hand_written_loop", "folder"),
            "plain TFDS builder": way("plain_tfds", "folder"),
        }
        results = in_turn(ways, options.rounds)
    print(f"{options.images:,} images, {options.rounds} rounds")
    against = {
        "x plain": "plain TFDS builder",
        "x loop": "hand-written loop",
        "x 1 worker": "package, folder, 1 worker",
    }
    columns = {
        "start-up s": median("start_up", 1, ".1f"),
        "CPU ms/image": lambda rounds: median("cpu", rounds[0]["images"] / 1e3, ".1f")(rounds),
        "memory MB": median("memory", 1e6),
        "read x": median("times_read", 1, ".2f"),
        "extra disk %": median("extra_share", 0.01, ".1f"),
    }
    print(table(results, against, columns))
