# PFC_CUDA says whether there is a LibTorch for CUDA and a CUDA toolkit (nvcc), without which programs work on CPUs only.
include(cmake/LibTorchCuda.cmake)
set(PFC_CUDA OFF)
if(TARGET LibTorch::Cuda)
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
target_include_directories(LibTorch::Cuda SYSTEM INTERFACE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
