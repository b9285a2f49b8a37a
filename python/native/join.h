#pragma once

#include <memory>
#include <optional>
#include <string>

#include "pfc/comm/communicator.h"

namespace pfc::python {

/// The ranks of a process group of torch.distributed, by its name; without one, this rank alone.
std::unique_ptr<Communicator> join(const std::optional<std::string>& group, at::Device device);

}  // namespace pfc::python
