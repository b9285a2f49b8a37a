#include "train/training_set.h"

#include <cstddef>
#include <string>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/comm/long_work.h"
#include "pfc/data/image_codec.h"
#include "train/same_data.h"

namespace pfc {
namespace {

/// A single identity cannot be told from any other: the loss is 0 and nothing is learnt.
void require_people(const Config& config, const Dataset& dataset) {
  if (dataset.identities() > 1) return;
  throw Error(config.data.train + ": holds " + counted(dataset.size(), "image") + " of " +
              counted(dataset.identities(), "identity") +
              ", want at least two identities; in a folder of photos each folder is one person, so "
              "the given path may be one level too high");
}

/// Otherwise every image of a set of another size would be counted as corrupt. A few images that
/// differ from the others are the loader's matter.
void require_size(const Config& config, const Dataset& dataset) {
  if (config.data.resize) return;
  constexpr ImageSize kWanted{kFaceSize, kFaceSize};
  constexpr std::int64_t kLooks = 8;
  std::string other;
  std::vector<std::byte> scratch;
  for (std::int64_t look = 0; look < kLooks; ++look) {
    const std::int64_t image = dataset.size() * look / kLooks;
    try {
      const ImageSize size = image_size(dataset.image(image, scratch));
      if (size == kWanted) return;
      if (other.empty()) {
        other = "image " + dataset.key(image) + " is " + std::to_string(size.width) + " x " +
                std::to_string(size.height);
      }
    } catch (const IoError&) {
      throw;
    } catch (const Error&) {  // says nothing about the size of the others
    }
  }
  if (other.empty()) return;
  throw Error(config.data.train + ": " + other +
              " pixels, want 112 x 112; with data.resize=true squares are resized when they are "
              "decoded, and pfc data align makes faces of photos");
}

}  // namespace

std::unique_ptr<Dataset> open_training_set(const Config& config,
                                           const std::optional<Manifest>& resumed,
                                           const Placement& place, Communicator& comm) {
  DatasetOptions options{.path = config.data.train,
                         .cache_dir = config.data.cache_dir,
                         .min_images = static_cast<int>(config.data.min_images),
                         .file_order = config.data.shuffle_window > 0};
  if (resumed) options.excluded = resumed->excluded;
  std::unique_ptr<Dataset> dataset;
  for (const bool opens : {place.local_rank == 0, place.local_rank != 0}) {
    long_work(comm, [&] {
      if (opens) dataset = open_dataset(options);
    });
  }
  require_same_data(*dataset, comm);
  require_people(config, *dataset);
  require_size(config, *dataset);
  if (resumed) require_same_data(*dataset, *resumed);
  return dataset;
}

}  // namespace pfc
