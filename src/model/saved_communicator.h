#pragma once

#include <ATen/core/ivalue.h>

#include <cstdint>

#include "pfc/comm/communicator.h"

namespace pfc {

// An autograd context can keep only values and tensors. The communicator outlives the step.
inline std::int64_t as_value(Communicator* comm) {
  return reinterpret_cast<std::int64_t>(comm);
}
inline Communicator* as_communicator(const c10::IValue& value) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): it was one
  return reinterpret_cast<Communicator*>(value.toInt());
}

}  // namespace pfc
