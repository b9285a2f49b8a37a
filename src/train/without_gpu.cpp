#include <stdexcept>

#include "train/recorded_pass.h"

// A build without CUDA.
namespace pfc {

std::unique_ptr<BackbonePass> make_recorded_pass(std::unique_ptr<BackbonePass> /*plain*/,
                                                 Training& /*training*/) {
  throw std::logic_error("this build records nothing for GPUs");
}

}  // namespace pfc
