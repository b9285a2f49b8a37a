#include "train/training_set.h"

#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/comm/long_work.h"
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
  if (resumed) require_same_data(*dataset, *resumed);
  return dataset;
}

}  // namespace pfc
