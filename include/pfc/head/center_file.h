#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "pfc/base/checksum.h"
#include "pfc/head/center_table.h"
#include "pfc/plan/class_identities.h"

namespace pfc {

/// One rank's table as `.safetensors`: its parts (CenterTable::parts) in their types,
/// `learning_rates` [n] float64 where there are any, and as metadata the number of `classes` in all
/// and the `first_class` of the rows. Streamed from where the rows lie, a
/// GPU's through 8 MiB of host memory; returned is what the file holds. `identities` are those of
/// all classes, of which the file gets its rows'.
Checksums save_centers(const CenterTable& table, const ClassIdentities& identities,
                       const std::filesystem::path& path);

/// Makes `table` the one that `world` ranks saved after `steps` steps, on whatever number of ranks
/// it lies now. `open` gives the file of one of them, and is asked for those only that hold rows of
/// `table`, of which only these are read. Throws DataError where a file is not of this table: of
/// another number of classes, size of embeddings, type of numbers or optimizer.
void load_centers(CenterTable& table, std::int64_t steps, int world,
                  const std::function<CheckedFile(int rank)>& open);

}  // namespace pfc
