#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pfc/comm/communicator.h"
#include "pfc/data/face_stream.h"

namespace pfc {

class Backbone;

struct SubCenterOptions {
  double degrees = 75;  ///< images that are further from their identity's dominant centre are far
  std::int64_t batch_size = 64;
  /// May throw to stop.
  std::function<void(const std::string& doing, std::int64_t done, std::int64_t total)> progress =
      [](const auto&, auto, auto) {};
};

/// An image that is far from the dominant centre of its identity.
struct FarFromDominant {
  std::string name;
  std::int64_t identity = 0;
  double degrees = 0;
  std::int64_t nearest = 0, dominant = 0;  ///< of its identity's centres, 0 to K − 1
};

struct SubCenterReport {
  std::int64_t images = 0, identities = 0;
  std::int64_t centers_a_class = 0;
  std::int64_t at_dominant = 0;   ///< images to which their identity's dominant centre is nearest
  std::int64_t not_embedded = 0;  ///< images that do not decode as 112 x 112
  std::int64_t unknown = 0;       ///< images of identities that have no centres; nothing is said
  std::string passed_over;        ///< what the set's reader skipped, in words; empty if nothing
  std::vector<FarFromDominant> far;
};

/// Finds wrong labels with the sub-centres of a run that was trained on the same set (Deng et al.,
/// "Sub-center ArcFace", ECCV 2020): an identity's dominant centre is the one that is nearest to
/// most of its images; images that are further from it than `degrees` are far, and the paper drops
/// them. Of two centres with equally many images the first is dominant.
///
/// `centers` is the folder of the run's checkpoint. `open` opens the set, twice; all images of an
/// identity must come together. Memory: the images of one identity, and those that are far. Ranks
/// share the embedding, and each has the whole report. Throws Error if the run had one centre a
/// class or did not note its identities, if its centres have another size than the network's
/// embeddings, and if the set has none of its identities.
SubCenterReport clean_by_sub_centers(Backbone& network, const std::filesystem::path& centers,
                                     const std::function<std::unique_ptr<FaceSource>()>& open,
                                     const SubCenterOptions& options, Communicator& comm);

}  // namespace pfc
