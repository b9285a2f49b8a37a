#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pfc/comm/communicator.h"
#include "pfc/comm/launch.h"
#include "pfc/data/image_source.h"
#include "pfc/data/verification_set.h"
#include "pfc/eval/verification.h"

namespace pfc {

class Backbone;

struct EmbedOptions {
  std::int64_t batch_size = 64;  ///< images the network sees at a time
  bool add_mirrored = false;  ///< a row is the sum of an image's and its mirror image's embedding
  /// That decode the next batch while the network is at work; 0: two where it works on the CPU, all
  /// that the process has where it works on a GPU.
  int threads = 0;
  /// Called after each batch with the images that all ranks have done, and their number; may be
  /// empty.
  std::function<void(std::int64_t done, std::int64_t total)> progress = {};
};

/// A backbone, and where it works.
struct EmbeddingNetwork {
  std::shared_ptr<Backbone> network;
  std::optional<int> gpu = {};  ///< else on the CPU
  std::string left_out = {};    ///< SavedBackbone's
};
/// Loads a backbone to embed with (`open_backbone` says from what), onto the GPU of this rank's
/// number on its machine where `use` says so; ranks share GPUs where there are fewer. Throws Error
/// where it is to be on a GPU and there is none.
EmbeddingNetwork load_embedding_network(const std::filesystem::path& model, UseGpus use,
                                        int local_rank);

struct EmbeddingSink {
  /// An image and its embedding [d], in the order of images; on all ranks alike.
  std::function<void(std::int64_t image, std::span<const float> embedding)> embedding;
  /// An image that is left out, and why: it does not decode as 112 × 112. In its place in that
  /// order, on all ranks alike.
  std::function<void(std::int64_t image, const std::string& reason)> left_out;
};

/// Embeds every image of a source, each rank its share of the batches; all ranks call it together,
/// with as many images, else it throws Error. The network works in evaluation mode and is given
/// back in the mode it came in.
void embed(Backbone& network, const ImageSource& images, const EmbeddingSink& sink,
           const EmbedOptions& options, Communicator& comm);
/// The same in a world of one.
void embed(Backbone& network, const ImageSource& images, const EmbeddingSink& sink,
           const EmbedOptions& options = {});

/// Embeds every image of a set and its mirror image, shared out as `embed` does; all ranks get all.
/// Throws DataError, naming set and image, where one does not decode as 112 × 112.
PairEmbeddings embed_pairs(Backbone& network, const VerificationSet& set,
                           const EmbedOptions& options, Communicator& comm);
/// The same in a world of one.
PairEmbeddings embed_pairs(Backbone& network, const VerificationSet& set,
                           const EmbedOptions& options = {});

}  // namespace pfc
