#pragma once

/// Marks a function that is compiled for GPUs as well as for the CPU.
#ifdef __CUDACC__
#define PFC_ON_GPU __host__ __device__
#else
#define PFC_ON_GPU
#endif
