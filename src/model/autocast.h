#pragma once

#include <ATen/autocast_mode.h>

namespace pfc {

/// While this lives, operators that benefit compute in `type` (PyTorch's autocast). With float32
/// none does, even inside another Autocast.
class Autocast {
 public:
  Autocast(at::Device device, at::ScalarType type)
      : device_(device.type()),
        was_on_(at::autocast::is_autocast_enabled(device_)),
        before_(at::autocast::get_autocast_dtype(device_)) {
    at::autocast::set_autocast_enabled(device_, type != at::kFloat);
    if (type != at::kFloat) at::autocast::set_autocast_dtype(device_, type);
    at::autocast::increment_nesting();
  }
  ~Autocast() {
    // Casts of parameters are cached until the outermost Autocast ends, because they change with
    // each step.
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, was_on_);
    at::autocast::set_autocast_dtype(device_, before_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  at::DeviceType device_;
  bool was_on_;
  at::ScalarType before_;
};

/// x converted to float32 if its type is narrower; otherwise x itself, which leaves no operator in
/// an exported network.
inline at::Tensor in_float32(const at::Tensor& x) {
  return at::isReducedFloatingType(x.scalar_type()) ? x.to(at::kFloat) : x;
}

}  // namespace pfc
