#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "pfc/base/checksum.h"
#include "pfc/head/center_table.h"
#include "pfc/plan/class_identities.h"

namespace pfc {

/// Saves one rank's table as `.safetensors`: its parts (CenterTable::parts) in their types,
/// `learning_rates` [n] float64 if there are any, and as metadata the number of all `classes` and
/// the `first_class` of the rows. Rows are streamed from where they lie; a GPU's rows go through 8
/// MiB of host memory. `identities` are those of all classes; the file gets those of its rows.
/// Returns the file's checksums.
Checksums save_centers(const CenterTable& table, const ClassIdentities& identities,
                       const std::filesystem::path& path);

/// Fills `table` with the centres that `world` ranks saved after `steps` steps, on any number of
/// ranks now. `open` returns the file of a saved rank. It is called only for files that hold rows
/// of `table`, and only these rows are read. Throws DataError if a file belongs to another table:
/// with another number of classes, embedding size, number type or optimizer.
void load_centers(CenterTable& table, std::int64_t steps, int world,
                  const std::function<CheckedFile(int rank)>& open);

}  // namespace pfc
