"""compare.py STOCK.json OURS.json: name each row in which two runs of the same check ended otherwise.

Hosts and times may differ, and the second sentence of a fault. Exit code: 0 if nothing differs, 1 otherwise."""

import json
import sys


def _ends(row):
    """Return what must be the same in both runs."""
    kept = {name: value for name, value in row.items() if name not in ("seconds", "hosts", "host", "on", "what")}
    for name in ("faults", "then"):
        if kept.get(name):
            texts = [kept[name]] if isinstance(kept[name], str) else kept[name]
            kept[name] = [text.split(". ")[0].rstrip(".") for text in texts]
    if "placement" in kept:
        kept["placement"] = sorted(
            json.dumps(sorted(map(json.dumps, map(_sorted, held.values())))) for held in kept["placement"]
        )
    for name in ("server", "migration"):
        if name in kept:
            kept[name] = sorted(json.dumps(_sorted(amounts)) for amounts in kept[name].values())
    if "migrations" in kept:
        kept["migrations"] = len(kept["migrations"])
    return kept


def _sorted(amounts):
    return dict(sorted(amounts.items()))


def main(stock, ours):
    rows = [{row["what"]: row for row in json.loads(open(path).read())} for path in (stock, ours)]
    differ = 0
    for what in dict.fromkeys([*rows[0], *rows[1]]):
        ends = [_ends(found[what]) if what in found else None for found in rows]
        if ends[0] != ends[1]:
            differ += 1
            print(f"{what}:\n    stock: {ends[0]}\n    ours:  {ends[1]}")
    print(f"{len(rows[1])} rows, {differ} different")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
