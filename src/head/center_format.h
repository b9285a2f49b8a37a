#pragma once

#include <string>

#include "pfc/base/format.h"
#include "pfc/formats/safetensors.h"
#include "pfc/plan/class_identities.h"
#include "pfc/plan/class_shard.h"

namespace pfc {

// How class centres lie in `.safetensors` files: a file a rank, the tensor `centers` [rows, dim].

/// What a rank's centres are called: centers-00001-of-00004.safetensors is rank 0's of 4.
inline std::string center_file_name(int rank, int world) {
  return format("centers-%05d-of-%05d.safetensors", rank + 1, world);
}

// What brings rows through the steps that they missed: metadata, and the steps' rates as a tensor.
constexpr const char *kSgdMomentum = "sgd_momentum", *kWeightDecay = "weight_decay",
                     *kLearningRates = "learning_rates";

constexpr const char* kCenterFormat = "partial-fc centers 1";

// Whose centres they are (ClassIdentities): the metadata say how the data call them, and the tensor
// of this name what, of the file's own rows. Files of older versions do not say it.
constexpr const char *kIdentities = "identities", *kIdentitiesBelow = "identities_below";
constexpr const char *kByClass = "classes",  // class i is identity i: no tensor
    *kByNumber = "numbers",                  // I32 [rows]
        *kByName = "names";                  // U8, each ended by a 0

/// What the file's metadata say: the range of global classes, and how their identities are called.
inline Metadata center_metadata(const ClassShard& shard, const ClassIdentities& identities) {
  return {{"format", kCenterFormat},
          {"classes", std::to_string(shard.classes())},
          {"first_class", std::to_string(shard.begin().v)},
          {kIdentities, identities.have_names()    ? kByName
                        : identities.are_classes() ? kByClass
                                                   : kByNumber},
          {kIdentitiesBelow, std::to_string(identities.below)}};
}

}  // namespace pfc
