# NCCL, for --tensor-parallel on GPUs: SPADE_NCCL, ON by default where it is found. From NVIDIA's
# repository (libnccl-dev; tools/setup --cuda), or under NCCL_ROOT, as the wheel nvidia-nccl-cu13 has it.
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${NCCL_ROOT} ${CUDAToolkit_INCLUDE_DIRS}
          PATH_SUFFIXES include)
find_library(NCCL_LIBRARY NAMES nccl libnccl.so.2 NAMES_PER_DIR HINTS ${NCCL_ROOT} ${CUDAToolkit_LIBRARY_DIR}
             PATH_SUFFIXES lib)
if(NCCL_INCLUDE_DIR AND NCCL_LIBRARY)
  set(nccl_found ON)
else()
  set(nccl_found OFF)
endif()
option(SPADE_NCCL "Tensor parallelism over GPUs, by NCCL" ${nccl_found})
if(SPADE_NCCL)
  if(NOT nccl_found)
    message(FATAL_ERROR "SPADE_NCCL is ON, but nccl.h or libnccl.so.2 is not found: install "
                        "libnccl-dev, or name a folder with include/ and lib/ by -DNCCL_ROOT=")
  endif()
  add_library(spade_nccl INTERFACE)
  target_include_directories(spade_nccl SYSTEM INTERFACE ${NCCL_INCLUDE_DIR})
  target_link_libraries(spade_nccl INTERFACE ${NCCL_LIBRARY})
else()
  message(STATUS "No NCCL: this build has no tensor parallelism over GPUs")
endif()
