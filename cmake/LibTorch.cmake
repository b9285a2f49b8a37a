# Defines LibTorch::LibTorch from a LibTorch folder: the one of a PyPI wheel (site-packages/torch) or an
# unpacked LibTorch. LibTorch's own CMake package stops with an error where its CUDA build meets a machine
# without a CUDA toolkit, and needs more set-up where it meets one; three libraries named by their path do not.
if(NOT PFC_LIBTORCH)
  message(FATAL_ERROR "LibTorch is not named. Run scripts/setup.sh, or pass -DPFC_LIBTORCH=/path/to/libtorch "
                      "(the folder that holds include/ and lib/).")
endif()
foreach(file include/ATen/ATen.h include/torch/csrc/api/include/torch/torch.h lib/libtorch_cpu.so lib/libc10.so)
  if(NOT EXISTS ${PFC_LIBTORCH}/${file})
    message(FATAL_ERROR "${PFC_LIBTORCH} is not a LibTorch folder: ${file} is missing")
  endif()
endforeach()

add_library(LibTorch::LibTorch INTERFACE IMPORTED)
target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE
                           ${PFC_LIBTORCH}/include ${PFC_LIBTORCH}/include/torch/csrc/api/include)
target_link_libraries(LibTorch::LibTorch INTERFACE
                      ${PFC_LIBTORCH}/lib/libtorch_cpu.so ${PFC_LIBTORCH}/lib/libc10.so)
# at::parallel_for is inline and threaded by OpenMP; the process must hold one OpenMP run time: LibTorch's own.
target_compile_options(LibTorch::LibTorch INTERFACE -fopenmp)
file(GLOB gomp ${PFC_LIBTORCH}/lib/libgomp*.so*)
if(gomp)
  list(GET gomp 0 gomp)
  target_link_libraries(LibTorch::LibTorch INTERFACE ${gomp})
else()
  target_link_options(LibTorch::LibTorch INTERFACE -fopenmp)
endif()
