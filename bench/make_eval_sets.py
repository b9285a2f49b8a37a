"""Made-up embeddings of the sizes of the field's evaluations.

    make_eval_sets.py ijbc FOLDER       469,375 rows, 23,124 templates, 15,658,489 pairs, 1:N lists
    make_eval_sets.py megaface FOLDER   3,530 probes of 80 people, 1,000,000 distractors
    make_eval_sets.py bins FOLDER       the distractors of `megaface` as a million files

    pfc eval ijb FOLDER --features FOLDER/x.npy
    pfc eval megaface --probes FOLDER/probes.npy --distractors FOLDER/distractors.npy
"""
import os
import sys

import numpy as np

DIM = 512


def around(centres, of, spread, rng):
    rows = centres[of] + spread * rng.standard_normal((len(of), DIM), np.float32)
    return rows.astype(np.float32)


def ijbc(folder):
    rng = np.random.default_rng(1)
    images, templates, subjects, pairs, genuine = 469_375, 23_124, 3_531, 15_658_489, 19_557
    os.makedirs(f'{folder}/meta')
    subject = np.arange(templates) % subjects
    template = np.concatenate([np.arange(templates),
                               rng.integers(0, templates, images - templates)])
    medium = rng.integers(0, 6, images)
    centres = rng.standard_normal((subjects, DIM), np.float32)
    x = np.lib.format.open_memmap(f'{folder}/x.npy', 'w+', np.float32, (images, DIM))
    for begin in range(0, images, 50_000):
        x[begin:begin + 50_000] = around(centres, subject[template[begin:begin + 50_000]], 1.5, rng)
    prefix = f'{folder}/meta/ijbc_'
    with open(prefix + 'face_tid_mid.txt', 'w') as owners, \
            open(prefix + 'name_5pts_score.txt', 'w') as points:
        for i in range(images):
            owners.write(f'{i}.jpg {template[i]} {medium[i]}\n')
            points.write(f'{i}.jpg 30 30 70 30 50 50 35 70 65 70 0.99\n')
    a = rng.integers(0, templates, pairs)
    b = np.where(np.arange(pairs) < genuine, (a + subjects) % (templates // subjects * subjects),
                 rng.integers(0, templates, pairs))
    np.savetxt(prefix + 'template_pair_label.txt',
               np.stack([a, b, subject[a] == subject[b]], 1), '%d')
    half = subjects // 2
    for name, some in [('gallery_G1', np.arange(half)), ('gallery_G2', np.arange(half, subjects)),
                       ('probe_mixed', np.arange(subjects, templates))]:
        with open(prefix + f'1N_{name}.csv', 'w') as lines:
            lines.write('TEMPLATE_ID,SUBJECT_ID\n')
            for i in some:
                lines.write(f'{i},{subject[i]}\n')


def megaface(folder):
    rng = np.random.default_rng(2)
    os.makedirs(folder)
    people = np.arange(3_530) % 80
    np.save(f'{folder}/probes.npy',
            around(rng.standard_normal((80, DIM), np.float32), people, 1.0, rng))
    with open(f'{folder}/probes.txt', 'w') as names:
        names.writelines(f'{p}/{i}.png\n' for i, p in enumerate(people))
    x = np.lib.format.open_memmap(f'{folder}/distractors.npy', 'w+', np.float32, (1_000_000, DIM))
    for begin in range(0, len(x), 50_000):
        x[begin:begin + 50_000] = rng.standard_normal((50_000, DIM), np.float32)
    with open(f'{folder}/distractors.txt', 'w') as names:
        names.writelines(f'{i // 1000}/{i // 10}/{i}.jpg\n' for i in range(len(x)))


def bins(folder):
    header = np.array([DIM, 1, 4, 5], np.int32).tobytes()
    for kind, name in [('facescrub', 'probes'), ('megaface', 'distractors')]:
        rows = np.load(f'{folder}/{name}.npy', mmap_mode='r')
        for row, path in zip(rows, open(f'{folder}/{name}.txt').read().split('\n')):
            path = f'{folder}/bins/{kind}/{path}_made.bin'
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'wb') as out:
                out.write(header + row.tobytes())


if __name__ == '__main__':
    if len(sys.argv) != 3 or sys.argv[1] not in ('ijbc', 'megaface', 'bins'):
        sys.exit(__doc__)
    globals()[sys.argv[1]](sys.argv[2])
