#include "pfc/export/safetensors.h"
#include "pfc/head/center_table.h"

namespace pfc {

void save_centers(CenterTable& table, const std::filesystem::path& path) {
  table.catch_up();
  const at::Tensor weights = table.weights();
  const TensorView view{
      "centers",
      weights.scalar_type() == at::kFloat ? "F32" : "BF16",
      {table.shard().rows(), table.dim()},
      {static_cast<const std::byte*>(weights.const_data_ptr()), weights.nbytes()}};
  write_safetensors(path, {view},
                    {{"format", "partial-fc centers 1"},
                     {"classes", std::to_string(table.shard().classes())},
                     {"first_class", std::to_string(table.shard().begin().v)}});
}

}  // namespace pfc
