#pragma once

// LibTorch holds gloo, and its ProcessGroupGloo.hpp includes gloo's headers, which the wheel of
// PyPI does not bring. It only hands on pointers to gloo's types, so the declarations in this
// folder are enough to compile it. No object of these types is made or used with them.

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

}  // namespace gloo
