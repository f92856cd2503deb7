"""compare_chaos.py STOCK.json OURS.json: whether more requests end in ERROR under chaos than with stock services.

The rows of both runs are added up by what was asked (create, resize, confirm). Exit code: 1 if a greater share of one
of them ended in ERROR in the second run, 0 otherwise."""

import json
import sys
from collections import Counter


def _ends(path):
    """Return request -> (number of them, number in ERROR), and the faults that servers show."""
    with open(path) as file:
        rows = json.load(file)
    asked, failed, faults = Counter(), Counter(), Counter()
    for row in rows:
        for end, count in row.get("states", {}).items():
            request, status = end.split()
            asked[request] += count
            failed[request] += count if status == "ERROR" else 0
        faults.update(row.get("faults", {}))
    return {request: (asked[request], failed[request]) for request in sorted(asked)}, faults


def main(stock, ours):
    (theirs, their_faults), (mine, my_faults) = _ends(stock), _ends(ours)
    worse = 0
    for request in sorted(theirs.keys() | mine.keys()):
        (their_count, their_failed), (count, failed) = theirs.get(request, (0, 0)), mine.get(request, (0, 0))
        # Shares, without a division by 0.
        is_worse = failed * max(their_count, 1) > their_failed * max(count, 1)
        worse += is_worse
        print(f"{request}: stock: {their_failed} of {their_count} in ERROR; ours: {failed} of {count}")
    for name, faults in (("stock", their_faults), ("ours", my_faults)):
        for text, count in faults.most_common():
            print(f"{name}: {count} x {text}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
