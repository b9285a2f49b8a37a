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
#include "pfc/eval/features.h"
#include "pfc/eval/verification.h"

namespace pfc {

class Backbone;

struct EmbedOptions {
  std::int64_t batch_size = 64;  ///< images that the network gets at a time
  bool add_mirrored = false;  ///< a row is the embedding of an image plus that of its mirror image
  /// How many threads decode the next batch while the network works. 0: two if the network works on
  /// the CPU, all that the process has if it works on a GPU.
  int threads = 0;
  /// Called after each batch with the images that all ranks together have done, and the number of
  /// all images; may be empty.
  std::function<void(std::int64_t done, std::int64_t total)> progress = {};
};

/// A backbone, and the device where it works.
struct EmbeddingNetwork {
  std::shared_ptr<Backbone> network;
  std::optional<int> gpu = {};  ///< without a value: on the CPU
  std::string left_out = {};    ///< as in SavedBackbone
};
/// Loads a backbone for embedding (`open_backbone` says from what). If `use` says so, the network
/// goes onto the GPU with this rank's number on its machine; ranks share GPUs if there are fewer
/// than ranks. Throws Error if a GPU is required and there is none.
EmbeddingNetwork load_embedding_network(const std::filesystem::path& model, UseGpus use,
                                        int local_rank);

struct EmbeddingSink {
  /// Gets an image and its embedding [d], in the order of images, on every rank.
  std::function<void(std::int64_t image, std::span<const float> embedding)> embedding;
  /// Gets an image that is left out because it does not decode as 112 × 112, and the reason. It
  /// comes at its place in that order, on every rank.
  std::function<void(std::int64_t image, const std::string& reason)> left_out;
};

/// Embeds every image of a source; each rank takes its share of the batches. All ranks call it
/// together, with the same number of images; otherwise it throws Error. The network runs in
/// evaluation mode and returns to its former mode afterwards.
void embed(Backbone& network, const ImageSource& images, const EmbeddingSink& sink,
           const EmbedOptions& options, Communicator& comm);
/// The same for one rank.
void embed(Backbone& network, const ImageSource& images, const EmbeddingSink& sink,
           const EmbedOptions& options = {});

/// Embeds every image of a source, as `embed` does, and keeps the rows under the images' names as
/// lists have them (list_name). Every rank gets them all. Throws Error if no image has an
/// embedding.
std::unique_ptr<Features> embed_images(
    Backbone& network, const ImageSource& images,
    const std::function<void(std::int64_t image, const std::string& reason)>& left_out,
    const EmbedOptions& options, Communicator& comm);

/// Embeds every image of a set and its mirror image, shared out as in `embed`; every rank gets all
/// embeddings. Throws DataError, naming the set and the image, if an image does not decode as 112 ×
/// 112.
PairEmbeddings embed_pairs(Backbone& network, const VerificationSet& set,
                           const EmbedOptions& options, Communicator& comm);
/// The same for one rank.
PairEmbeddings embed_pairs(Backbone& network, const VerificationSet& set,
                           const EmbedOptions& options = {});

}  // namespace pfc
