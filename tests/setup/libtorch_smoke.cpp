// Checks that LibTorch is found, linked and works, with the shortest compile time.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <cstdio>

int main() {
  const double trace = at::eye(3).mm(at::eye(3)).trace().item<double>();
  std::printf("LibTorch works on %d threads\n", at::get_num_threads());
  return trace == 3 ? 0 : 1;
}
