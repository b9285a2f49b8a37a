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
  /// An image is "far" if its cosine to its identity's centre is below this. Not given: the cosine
  /// that only one image in a hundred reaches to a centre that is not its own.
  std::optional<double> far = {};
  double margin =
      0.3;  ///< a far image that is closer to another identity by this much is a stranger
  double duplicate = 0.95;  ///< two images of one identity with a higher cosine are duplicates
  double same = 0.7;        ///< two identities whose centres have a higher cosine look the same
  std::int64_t batch_size = 64;
  /// May throw to stop.
  std::function<void(const std::string& doing, std::int64_t done, std::int64_t total)> progress =
      [](const auto&, auto, auto) {};
};

/// An image that is far from its identity's centre.
struct FarImage {
  std::string name;
  std::int64_t identity = 0;
  double cosine = 0;          ///< to its centre, computed from the identity's other images
  std::int64_t nearest = -1;  ///< the other identity whose centre is closest
  double nearest_cosine = 0;
  bool stranger = false;  ///< much closer to that one than to its own
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
  std::int64_t alone =
      0;  ///< images whose identity has no other image: nothing can be said about them
  std::int64_t not_embedded = 0;  ///< images that do not decode as 112 x 112
  double far = 0;                 ///< the threshold that was used
  std::string passed_over;        ///< what the set's reader skipped, in words; empty if nothing
  std::vector<FarImage> far_images;
  std::vector<DuplicateImage> duplicates;
  std::vector<SameLooking> same;
};

/// Uses a trained network to look for errors in a labelled set: images far from the centre of their
/// identity, images of an identity that are nearly the same, and identities that look the same.
///
/// A centre is the mean of an identity's embeddings of unit length. Embeddings whose cosine to the
/// mean of the others is below half of the identity's median are left out of it. `open` opens the
/// set, three times; all images of an identity must come together. Memory: 2 bytes times the
/// embedding length for each identity, 4 bytes for each image, and the images of one identity. The
/// ranks share the embedding of each block of images, and each rank has the whole report. Throws
/// Error if an identity comes again later, if no image can be embedded, or if so many identities
/// look the same that the network cannot tell people apart.
CleanReport clean(Backbone& network, const std::function<std::unique_ptr<FaceSource>()>& open,
                  const CleanOptions& options, Communicator& comm);

}  // namespace pfc
