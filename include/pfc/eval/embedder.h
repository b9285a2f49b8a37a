#pragma once

#include <cstdint>
#include <functional>

#include "pfc/data/verification_set.h"
#include "pfc/eval/verification.h"
#include "pfc/model/backbone.h"

namespace pfc {

struct EmbedOptions {
  std::int64_t batch_size = 64;  ///< images the network sees at a time
  int threads = 2;               ///< decode the next batch while the network is at work
  /// Called after each batch with the images done and their number; may be empty.
  std::function<void(std::int64_t done, std::int64_t total)> progress = {};
};

/// Embeds every image of a set and its mirror image. The network works in evaluation mode and is
/// given back in the mode it came in. Throws DataError, naming set and image, where one does not
/// decode as 112 × 112.
PairEmbeddings embed_pairs(Backbone& network, const VerificationSet& set,
                           const EmbedOptions& options = {});

}  // namespace pfc
