# bench/gpu_check and what of the project it needs, on a machine that has LibTorch, the CUDA toolkit and no other
# library: see scripts/gpu_check.sh.
if(NOT PFC_CUDA)
  message(FATAL_ERROR "the GPU check wants nvcc and a LibTorch for CUDA, the one of PyPI's torch")
endif()
add_executable(gpu_check
  bench/gpu_check/head.cpp
  bench/gpu_check/head_speed.cpp
  bench/gpu_check/kernels_rows.cpp
  bench/gpu_check/kernels_softmax.cpp
  bench/gpu_check/main.cpp
  bench/gpu_check/profile.cpp
  bench/gpu_check/training.cpp
  bench/head_baselines.cpp
  bench/run_self.cpp
  src/base/error.cpp
  src/base/format.cpp
  src/base/random.cpp
  src/comm/communicator.cpp
  src/comm/gpus.cpp
  src/head/center_table.cpp
  src/head/cuda_graph.cpp
  src/head/gpu_table.cpp
  src/head/kernels/kernels_cuda_rows.cu
  src/head/kernels/kernels_cuda_softmax.cu
  src/head/kernels/kernels_portable.cpp
  src/head/margin.cpp
  src/head/online_softmax.cpp
  src/head/partial_fc.cpp
  src/head/partial_fc_cpu.cpp
  src/head/partial_fc_gpu.cpp
  src/head/prefetch_queue.cpp
  src/plan/sampler.cpp
  src/head/skipped_steps.cpp
  src/head/staged_table.cpp
  src/head/step_inputs.cpp
  src/head/upload.cpp
  src/model/backbone.cpp
  src/model/batch_norm.cpp
  src/model/batch_norm_kernels_portable.cpp
  src/model/iresnet.cpp
  src/model/layers.cpp
  src/model/mobilefacenet.cpp
  src/model/vit.cpp
  src/train/finite.cpp
  src/train/gradient_buckets.cpp
  src/train/loss_scaler.cpp
  src/train/pending_values.cpp
  src/train/run_state.cpp
  src/train/train_step.cpp
  src/train/update_backbone.cpp
)
target_include_directories(gpu_check PRIVATE include src bench)
target_compile_options(gpu_check PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;--ftz=true>)
target_link_libraries(gpu_check PRIVATE LibTorch::Cuda)
pfc_warnings(gpu_check)
