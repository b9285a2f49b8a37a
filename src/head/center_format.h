#pragma once

#include <string>

#include "pfc/base/format.h"
#include "pfc/formats/safetensors.h"
#include "pfc/plan/class_identities.h"
#include "pfc/plan/class_shard.h"

namespace pfc {

// How class centres are stored in `.safetensors` files: one file for each rank, with the tensor
// `centers` [rows, dim].

/// The name of a rank's file: centers-00001-of-00004.safetensors is rank 0's of 4.
inline std::string center_file_name(int rank, int world) {
  return format("centers-%05d-of-%05d.safetensors", rank + 1, world);
}

// What is needed to bring rows through their missed steps: metadata, and the steps' learning rates
// as a tensor.
constexpr const char *kSgdMomentum = "sgd_momentum", *kWeightDecay = "weight_decay",
                     *kLearningRates = "learning_rates";

constexpr const char* kCenterFormat = "partial-fc centers 1";

// Whose centres they are (ClassIdentities). The metadata say how the data name classes, and the
// tensor of this name holds the names of the file's own rows. Files of older versions do not have
// it.
constexpr const char *kIdentities = "identities", *kIdentitiesBelow = "identities_below";
constexpr const char *kByClass = "classes",  // class i is identity i: no tensor
    *kByNumber = "numbers",                  // I32 [rows]
        *kByName = "names";                  // U8, each ends with a 0

/// How many centres a class has, one after another. Files where it is 1 do not say it. `classes`
/// and `first_class` count centres.
constexpr const char* kCentersAClass = "centers_a_class";
inline std::int64_t centers_a_class_in(const SafetensorsFile& file) {
  return file.metadata().contains(kCentersAClass) ? file.integer(kCentersAClass) : 1;
}

/// The file's metadata: the range of global classes, and how their identities are named.
inline Metadata center_metadata(const ClassShard& shard, const ClassIdentities& identities) {
  Metadata metadata = {{"format", kCenterFormat},
                       {"classes", std::to_string(shard.classes())},
                       {"first_class", std::to_string(shard.begin().v)},
                       {kIdentities, identities.have_names()    ? kByName
                                     : identities.are_classes() ? kByClass
                                                                : kByNumber},
                       {kIdentitiesBelow, std::to_string(identities.below)}};
  if (shard.centers_a_class() > 1)
    metadata[kCentersAClass] = std::to_string(shard.centers_a_class());
  return metadata;
}

}  // namespace pfc
