# Defines LibTorch::Cuda, what work on GPUs links: the CUDA run time, NCCL and LibTorch's share of CUDA, all of which the
# PyPI wheel brings, where it does. LibTorch's own kernels are loaded by the program when it finds a GPU.
get_filename_component(site_packages ${PFC_LIBTORCH} DIRECTORY)
file(GLOB nccl ${site_packages}/nvidia/nccl/lib/libnccl.so.2)
file(GLOB cudart ${site_packages}/nvidia/cu[0-9]*/lib/libcudart.so.*)
if(EXISTS ${PFC_LIBTORCH}/lib/libtorch_cuda.so AND nccl AND cudart)
  add_library(LibTorch::Cuda INTERFACE IMPORTED)
  target_include_directories(LibTorch::Cuda SYSTEM INTERFACE ${site_packages}/nvidia/nccl/include)
  target_link_libraries(LibTorch::Cuda INTERFACE LibTorch::LibTorch ${nccl} ${cudart} ${PFC_LIBTORCH}/lib/libc10_cuda.so
                        -Wl,--allow-shlib-undefined)
endif()
