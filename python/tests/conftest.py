import os

# Ranks are forks of this process, which therefore must not have threads of OpenMP's.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch  # noqa: E402

torch.set_num_threads(1)
