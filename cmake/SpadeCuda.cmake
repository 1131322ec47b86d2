# The CUDA language, for SPADE_CUDA=ON. Needs the toolkit's nvcc, cudart and cuBLAS: tools/setup --cuda.
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(CMAKE_CUDA_COMPILER nvcc PATHS /usr/local/cuda/bin)
endif()
if(NOT CMAKE_CUDA_ARCHITECTURES)
  # A100 and H100/H200 as machine code, PTX for what comes later.
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual)
endif()
enable_language(CUDA)
find_package(CUDAToolkit 13 REQUIRED)
include(SpadeNccl)
# Debian 12's CMake does not know that nvcc speaks C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG")
if(NOT CMAKE_CUDA_COMPILER_LAUNCHER AND SPADE_CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${SPADE_CCACHE})
endif()
# No contraction of products and sums but where the source says fmaf: else a row's bits would hang
# on which kernel the compiler sees it in.
target_compile_options(spade_options INTERFACE
  $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>
  $<$<COMPILE_LANGUAGE:CUDA>:--fmad=false>
  $<$<COMPILE_LANGUAGE:CUDA>:--Werror=all-warnings>
  $<$<COMPILE_LANGUAGE:CUDA>:-Xptxas=--warn-on-spills>  # an error, as all warnings
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra,-Werror>)
