#pragma once

#include <ATen/autocast_mode.h>

namespace pfc {

/// While it lives, operators that gain by it compute in `type` (PyTorch's autocast); with float32
/// none does, also inside of another one.
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
    // The casts of parameters are kept until the outermost ends: they change with each step.
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

/// x in float32 where it is in a narrower type; else itself, which leaves no operator in an
/// exported network.
inline at::Tensor in_float32(const at::Tensor& x) {
  return at::isReducedFloatingType(x.scalar_type()) ? x.to(at::kFloat) : x;
}

}  // namespace pfc
