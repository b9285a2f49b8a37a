TORCH: str
CUDA: str
