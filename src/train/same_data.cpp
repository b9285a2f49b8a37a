#include "train/same_data.h"

#include <ATen/Functions.h>

#include "base/fingerprint.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

std::uint64_t fingerprint(std::span<const std::int32_t> labels) {
  Fingerprint fingerprint;
  for (const std::int32_t label : labels) fingerprint.add(static_cast<std::uint32_t>(label));
  return fingerprint.value();
}

std::uint64_t fingerprint(const ClassIdentities& identities) {
  Fingerprint fingerprint;
  for (const std::int32_t number : identities.numbers)
    fingerprint.add(static_cast<std::uint32_t>(number));
  for (const std::string& name : identities.names) {
    fingerprint.add(static_cast<std::uint32_t>(name.size()));
    fingerprint.add(name);
  }
  return fingerprint.value();
}

std::string seen_by(std::int64_t rank, const std::int64_t* counts) {
  return "rank " + std::to_string(rank) + " sees " + counted(counts[0], "image") + " of " +
         counted(counts[1], "identity");
}

}  // namespace

void require_same_data(const Dataset& dataset, Communicator& comm) {
  const at::Tensor mine = at::empty({1, 4}, at::kLong);
  std::int64_t* const values = mine.mutable_data_ptr<std::int64_t>();
  values[0] = dataset.size();
  values[1] = dataset.identities();
  values[2] = static_cast<std::int64_t>(fingerprint(dataset.labels()));
  values[3] = static_cast<std::int64_t>(fingerprint(dataset.class_identities()));
  const at::Tensor all = comm.all_gather(mine).wait();
  const auto* const first = all.const_data_ptr<std::int64_t>();
  for (std::int64_t rank = 1; rank < comm.world(); ++rank) {
    const auto* const other = first + 4 * rank;
    if (std::equal(first, first + 4, other)) continue;
    throw Error(
        "the ranks' training sets differ: " + seen_by(0, first) + ", " + seen_by(rank, other) +
        ", or other labels or people; every machine needs the same files, the list of images that "
        "did not decode (.pfcbad) among them");
  }
}

void require_same_data(const Dataset& dataset, const Manifest& manifest) {
  if (dataset.size() == manifest.images && dataset.identities() == manifest.identities &&
      fingerprint(dataset.labels()) == manifest.labels) {
    if (manifest.people == 0 || manifest.people == fingerprint(dataset.class_identities())) return;
    throw Error(
        "the training set has the same numbers of images and identities as the checkpoint's run, "
        "but other people or another order, so classes would get the centres of others: a resumed "
        "run needs the data that it began with");
  }
  throw Error("the training set has " + counted(dataset.size(), "image") + " of " +
              counted(dataset.identities(), "identity") + ", the checkpoint's run " +
              grouped(manifest.images) + " of " + grouped(manifest.identities) +
              ", or other labels: a resumed run needs the data that it began with");
}

void describe(const Dataset& dataset, Manifest& manifest) {
  manifest.images = dataset.size();
  manifest.identities = dataset.identities();
  manifest.labels = fingerprint(dataset.labels());
  manifest.people = fingerprint(dataset.class_identities());
  manifest.excluded = dataset.excluded();
}

}  // namespace pfc
