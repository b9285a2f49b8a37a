#pragma once

#include <optional>
#include <string>
#include <vector>

namespace pfc {

/// Runs this program once more, with other arguments, and waits for it: what is measured in a
/// process of its own finds neither memory nor threads that another measurement left.
/// Gives what it printed; nothing where the system killed it, which is how Linux ends a process
/// that the memory does not suffice for. Throws Error where it failed in any other way.
std::optional<std::string> run_self(std::vector<std::string> arguments);

}  // namespace pfc
