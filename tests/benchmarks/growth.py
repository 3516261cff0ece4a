"""Shows how the time and the memory of a build grow with the number of images.

    python tests/benchmarks/growth.py [--release DIR]

Builds the config `nodule` at 512 pixels, two workers, from a folder and from tar.gz. Memory is the most that the
process had above what importing TensorFlow takes.
"""

from pathlib import Path

from releases import arguments, repeated
from side_by_side import build, in_turn, median, table

COUNTS = (500, 1000, 2000, 4000, 8000)

if __name__ == "__main__":
    options = arguments(__doc__, images=max(COUNTS), rounds=1).parse_args()
    with repeated(options.release, 60, ("folder", "tar.gz")) as small:
        for layout in ("folder", "tar.gz"):
            results = {}
            for count in [count for count in COUNTS if count <= options.images]:
                with repeated(options.release, count, (layout,)) as releases:
                    folder: Path = releases[layout]
                    ways = {f"{layout}, {count:,} images": lambda: build("package", folder, small[layout], 2)}  # noqa: B023
                    results |= in_turn(ways, options.rounds)
            columns = {"seconds": median("seconds", 1, ".1f"), "memory MB": median("memory", 1e6)}
            columns["extra disk %"] = median("extra_share", 0.01, ".1f")
            print(table(results, {}, columns))
