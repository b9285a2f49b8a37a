# Defines LibTorch::Nccl, NCCL with the CUDA run time and LibTorch's CUDA half, where the LibTorch is one for GPUs that has
# them beside it, as the PyPI wheel does (site-packages/nvidia/…). No CUDA toolkit is needed. PFC_NCCL says whether it is
# there.
set(PFC_NCCL OFF)
get_filename_component(site_packages ${PFC_LIBTORCH} DIRECTORY)
file(GLOB nccl ${site_packages}/nvidia/nccl/lib/libnccl.so.2)
file(GLOB cudart ${site_packages}/nvidia/cu[0-9]*/lib/libcudart.so.*)
file(GLOB cuda_include ${site_packages}/nvidia/cu[0-9]*/include)
if(EXISTS ${PFC_LIBTORCH}/lib/libtorch_cuda.so AND nccl AND cudart AND EXISTS ${cuda_include}/cuda_runtime_api.h)
  set(PFC_NCCL ON)
  add_library(LibTorch::Nccl INTERFACE IMPORTED)
  target_include_directories(LibTorch::Nccl SYSTEM INTERFACE ${site_packages}/nvidia/nccl/include ${cuda_include})
  # LibTorch's CUDA half registers itself when it is loaded: nothing refers to it by name.
  target_link_libraries(LibTorch::Nccl INTERFACE
                        LibTorch::LibTorch ${nccl} ${cudart} ${PFC_LIBTORCH}/lib/libc10_cuda.so
                        "-Wl,--no-as-needed,${PFC_LIBTORCH}/lib/libtorch_cuda.so,--as-needed"
                        -Wl,--allow-shlib-undefined)
endif()
