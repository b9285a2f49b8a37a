# Defines LibTorch::Cuda, what work on GPUs links: the CUDA run time, NCCL and LibTorch's share of CUDA, all of which the
# PyPI wheel brings. LibTorch's own kernels are loaded by the program when it finds a GPU. PFC_CUDA says whether there is
# that and a CUDA toolkit (nvcc), without which programs work on CPUs only.
set(PFC_CUDA OFF)
get_filename_component(site_packages ${PFC_LIBTORCH} DIRECTORY)
file(GLOB nccl ${site_packages}/nvidia/nccl/lib/libnccl.so.2)
file(GLOB cudart ${site_packages}/nvidia/cu[0-9]*/lib/libcudart.so.*)
if(EXISTS ${PFC_LIBTORCH}/lib/libtorch_cuda.so AND nccl AND cudart)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(PFC_CUDA ON)
  endif()
endif()
if(NOT PFC_CUDA)
  return()
endif()

if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80 90)  # the A100's and the H100's; set it for others
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 knows none of nvcc's
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY None)  # LibTorch's own
add_library(LibTorch::Cuda INTERFACE IMPORTED)
target_include_directories(LibTorch::Cuda SYSTEM INTERFACE ${site_packages}/nvidia/nccl/include
                           ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
target_link_libraries(LibTorch::Cuda INTERFACE LibTorch::LibTorch ${nccl} ${cudart} ${PFC_LIBTORCH}/lib/libc10_cuda.so
                      -Wl,--allow-shlib-undefined)
