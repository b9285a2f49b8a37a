#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "pfc/comm/communicator.h"
#include "pfc/data/face_stream.h"

namespace pfc {

class Backbone;

/// The images of a labelled set, on their way through a network, in the order of the set. Ranks
/// share the embedding of each block of images, and each rank is given all embeddings.
class LabelledImages {
 public:
  struct Embedded {
    const std::string& name;
    std::int64_t identity;
    std::int64_t number;  ///< its place in the set
    at::Tensor unit;      ///< [d] its embedding, of unit length
  };
  using Open = std::function<std::unique_ptr<FaceSource>()>;
  /// May throw to stop.
  using Progress =
      std::function<void(const std::string& doing, std::int64_t done, std::int64_t total)>;

  /// `open` opens the set, once for each of the calls below. All arguments must outlive this.
  LabelledImages(Backbone& network, const Open& open, std::int64_t batch_size,
                 const Progress& progress, Communicator& comm)
      : network_(network), open_(open), batch_size_(batch_size), progress_(progress), comm_(comm) {}

  /// Returns what the set's reader passed over, in words. Throws Error if images of an identity
  /// come after those of another, which is better known before hours are spent on embeddings.
  std::string require_order();

  /// Embeds the images for whose numbers `wanted` is true. Returns how many of them do not decode
  /// as 112 x 112.
  std::int64_t embed(const std::string& doing,
                     const std::function<bool(std::int64_t number)>& wanted,
                     const std::function<void(Embedded image)>& take);

 private:
  Backbone& network_;
  const Open& open_;
  std::int64_t batch_size_;
  const Progress& progress_;
  Communicator& comm_;
};

}  // namespace pfc
