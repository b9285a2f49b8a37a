"""Changes the labels of a share of a set's images, to see what a loss or a cleaning makes of wrong ones.

    python3 bench/noisy_labels.py train.rec noisy.rec 0.05 1

The last two are the share and a seed. Images of identities with two or more change places: each goes where another of
them was, so as many images bear each label as before. It reads and writes InsightFace's .rec with its .idx.
"""

import collections
import pathlib
import random
import struct
import sys

MAGIC = 0xCED7230A


def records(data):
    """(place, header, payload, label, whether it is an image) of each record."""
    at = 0
    while at < len(data):
        magic, length = struct.unpack_from("<II", data, at)
        if magic != MAGIC or length >> 29:
            sys.exit(f"at byte {at} there is no whole record")
        flag, label = struct.unpack_from("<If", data, at + 8)
        yield at, data[at + 8 : at + 32], data[at + 32 : at + 8 + length], label, flag == 0 and length > 24
        at += 8 + (length + 3) // 4 * 4


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    source, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    found = list(records(source.read_bytes()))
    keys = {int(place): key for key, place in map(str.split, source.with_suffix(".idx").read_text().splitlines())}
    images = collections.Counter(label for *_, label, is_image in found if is_image)
    candidates = [i for i, (*_, label, is_image) in enumerate(found) if is_image and images[label] >= 2]
    chosen = random.Random(int(sys.argv[4])).sample(candidates, round(float(sys.argv[3]) * len(candidates)))
    payloads = [payload for _, _, payload, _, _ in found]
    for here, there in zip(chosen, chosen[1:] + chosen[:1]):
        payloads[here] = found[there][2]
    with open(target, "wb") as out, open(target.with_suffix(".idx"), "w", encoding="ascii") as index:
        for (place, header, *_), payload in zip(found, payloads):
            index.write(f"{keys[place]}\t{out.tell()}\n")
            body = header + payload
            out.write(struct.pack("<II", MAGIC, len(body)) + body + bytes(-len(body) % 4))
    print(f"{len(chosen):,} of {len(candidates):,} images changed places")


if __name__ == "__main__":
    main()
