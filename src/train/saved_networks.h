#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "pfc/comm/communicator.h"
#include "pfc/model/backbone.h"
#include "pfc/train/config.h"

namespace pfc {

/// The networks that a run leaves beside its checkpoints, as files that can be used as they are:
/// `last.safetensors`, and `best.safetensors`, the best so far on the first verification set. All
/// ranks call each function together; the first one writes.
class SavedNetworks {
 public:
  SavedNetworks(const Config::Model& model, std::filesystem::path output, Communicator& comm)
      : model_(model), output_(std::move(output)), comm_(comm) {}

  /// After an evaluation.
  void save(const Backbone& backbone, bool is_best);
  /// The checkpoint of `step` was not saved, for the reason `failure`. The network is a small part
  /// of it, so there may be room for that. Throws Error that says what is saved and what is not;
  /// `resumes_after` is the step of the newest checkpoint, 0: there is none.
  [[noreturn]] void save_without_checkpoint(const Backbone& backbone, std::string failure,
                                            std::int64_t step, std::int64_t resumes_after);
  /// Gives the best one another name: what comes after `step` cannot be compared with it.
  void set_best_aside(std::int64_t step);

 private:
  void write(const Backbone& backbone, const char* name) const;

  const Config::Model& model_;
  std::filesystem::path output_;
  Communicator& comm_;
};

}  // namespace pfc
