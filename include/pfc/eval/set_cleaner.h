#pragma once

#include <c10/util/Half.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pfc/comm/communicator.h"
#include "pfc/data/face_stream.h"

namespace pfc {

class Backbone;

struct CleanOptions {
  /// An image whose cosine to its identity's centre is below is far. Not given: what one in a
  /// hundred images reaches to a centre that is not its own.
  std::optional<double> far = {};
  double margin = 0.3;  ///< a far image that is closer to another identity by this is a stranger
  double duplicate = 0.95;  ///< two images of one identity with a cosine above are one
  double same = 0.7;        ///< two identities whose centres have a cosine above look the same
  std::int64_t batch_size = 64;
  /// May throw to stop.
  std::function<void(const std::string& doing, std::int64_t done, std::int64_t total)> progress =
      [](const auto&, auto, auto) {};
};

/// An image that is far from its identity's centre.
struct FarImage {
  std::string name;
  std::int64_t identity = 0;
  double cosine = 0;          ///< to its centre, which is that of the identity's other images
  std::int64_t nearest = -1;  ///< the identity whose centre it is closest to, its own aside
  double nearest_cosine = 0;
  bool stranger = false;  ///< much closer to that one
};

struct DuplicateImage {
  std::string name;
  std::int64_t identity = 0;
  std::string of;  ///< an earlier image
  double cosine = 0;
};

struct SameLooking {
  std::int64_t identity = 0, other = 0;  ///< identity < other
  double cosine = 0;
};

struct CleanReport {
  std::int64_t images = 0, identities = 0;
  std::int64_t alone = 0;  ///< images whose identity has no other: nothing can be said of them
  std::int64_t not_embedded = 0;  ///< images that do not decode as 112 x 112
  double far = 0;                 ///< the threshold that was used
  std::string passed_over;        ///< of the set, in words; empty where nothing was
  std::vector<FarImage> far_images;
  std::vector<DuplicateImage> duplicates;
  std::vector<SameLooking> same;
};

/// Looks for what is wrong in a labelled set, by a trained network: images far from the centre of
/// their identity, images of an identity that are nearly the same, identities that look the same.
///
/// A centre is the mean of an identity's embeddings of unit length, those left out whose cosine to
/// the others' mean is below half of the identity's median. `open` opens the set, three times;
/// images of an identity must come together. Memory: 2 bytes times the length of an embedding for
/// each identity, 4 bytes an image, and the images of one identity. Ranks share the embedding of
/// each block of images and have all of the report. Throws Error where an identity comes back, no
/// image can be embedded, or so many identities look the same that the network tells nobody apart.
CleanReport clean(Backbone& network, const std::function<std::unique_ptr<FaceSource>()>& open,
                  const CleanOptions& options, Communicator& comm);

}  // namespace pfc
