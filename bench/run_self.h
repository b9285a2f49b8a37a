#pragma once

#include <optional>
#include <string>
#include <vector>

namespace pfc {

/// Runs this program once more with other arguments and waits for it. A measurement in a process of
/// its own finds neither memory nor threads of another one. Returns what it printed, or nothing if
/// the system killed it, which is how Linux ends a process when memory runs out. Throws Error if it
/// failed in another way.
std::optional<std::string> run_self(std::vector<std::string> arguments);

}  // namespace pfc
