"""Trains the Keras recipe of the guide to training, as it stands there, from several seeds, on the sample config.

    python tests/benchmarks/auroc.py [--seeds 0 1 2]

Each seed trains in a process of its own. A row gives the seed, the AUROC on the test subset, exact, not from thresholds
as Keras' metric is, and the seconds, imports included. The sample has to be built where TFDS looks for it.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "nih_chest_xray" / "guides" / "training.md"
SCORE = """
from sklearn.metrics import roc_auc_score

labels = [int(label) for _, label in test.unbatch()]
print("AUROC:", roc_auc_score(labels, model.predict(test, verbose=0).ravel()))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    code = re.search(r"^## Keras\n.*?^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)[1]
    print("| seed | AUROC on test | seconds |\n| --- | --- | --- |")
    for seed in parser.parse_args().seeds:
        seeded = code.replace("set_random_seed(0)", f"set_random_seed({seed})") + SCORE
        start = time.perf_counter()
        out = subprocess.run([sys.executable, "-c", seeded], check=True, capture_output=True, text=True).stdout
        auroc = float(re.search(r"^AUROC: (\S+)$", out, re.MULTILINE)[1])
        print(f"| {seed} | {auroc:.3f} | {time.perf_counter() - start:.0f} |", flush=True)


if __name__ == "__main__":
    main()
