#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "pfc/comm/communicator.h"
#include "pfc/train/manifest.h"

namespace pfc {

/// What is known about a number in a checkpoint.
struct StateOptions {
  double least = -std::numeric_limits<double>::infinity();  ///< a smaller one is refused
  bool is_optional = false;  ///< a checkpoint may lack it; it then keeps its initial value
};

/// The numbers that a run carries from step to step, besides the network, its optimizer and the
/// class centres. Whoever owns such a number adds it once; then checkpoints keep it and a resumed
/// run goes on with it, the same on every rank.
class RunState {
 public:
  // Adds a number, or the numbers of a small tensor on any device, by a name that no other one has.
  // They are read and written in place, so they must stay where they are while the state is used. A
  // tensor is contiguous and has a fixed size. One that is undefined or empty has nothing to keep.
  void add(std::string name, std::int64_t& number, StateOptions options = {});
  void add(std::string name, double& number, StateOptions options = {});
  void add(std::string name, const at::Tensor& tensor, StateOptions options = {});

  /// Notes all of it in `manifest`. Throws Error where a number is not finite.
  void save(Manifest& manifest) const;
  /// Takes all of it from a manifest, whose file is `name`; numbers there that nobody has added are
  /// left. Throws DataError where one is missing, has another size or type, is not finite or is too
  /// small; then nothing is changed.
  void load(const Manifest& manifest, std::string_view name);
  /// Gives all ranks what the first one has. All call it together.
  void broadcast(Communicator& comm);

  std::int64_t step = 0;  ///< steps done

 private:
  struct Entry {
    std::string name;
    at::Tensor tensor;
    StateOptions options;
  };
  static at::Tensor checked(const SavedNumbers& saved, const Entry& entry, std::string_view file);

  std::vector<Entry> entries_;
};

}  // namespace pfc
