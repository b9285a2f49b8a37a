#include "pfc/export/safetensors.h"
#include "pfc/head/center_table.h"

namespace pfc {

void save_centers(const CenterTable& table, const std::filesystem::path& path) {
  const at::Tensor weights = table.weights();
  const TensorView view{
      "centers",
      "F32",
      {table.shard().rows(), table.dim()},
      {static_cast<const std::byte*>(weights.const_data_ptr()), weights.nbytes()}};
  write_safetensors(path, {view},
                    {{"format", "partial-fc centers 1"},
                     {"classes", std::to_string(table.shard().classes())},
                     {"first_class", std::to_string(table.shard().begin().v)}});
}

}  // namespace pfc
