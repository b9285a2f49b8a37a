#include "pfc/head/center_file.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "head/center_format.h"
#include "head/table_state.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/formats/safetensors.h"

namespace pfc {
namespace {

const char* dtype_of(const at::Tensor& part) {
  switch (part.scalar_type()) {
    case at::kFloat:
      return "F32";
    case at::kBFloat16:
      return "BF16";
    default:
      return "I32";
  }
}

std::int64_t row_bytes(const at::Tensor& part) {
  return static_cast<std::int64_t>(part.nbytes()) / part.size(0);
}

/// Calls body(some rows) until all rows were passed, in order. A GPU's rows go through host memory,
/// which may be smaller than the table.
template <class Body>
void for_each_piece(const at::Tensor& part, const Body& body) {
  constexpr std::int64_t kPieceBytes = std::int64_t{8} << 20;
  const std::int64_t most = std::max<std::int64_t>(1, kPieceBytes / row_bytes(part));
  for (std::int64_t begin = 0; begin < part.size(0); begin += most)
    body(part.narrow(0, begin, std::min(most, part.size(0) - begin)));
}

TensorStream stream_of(const std::string& name, const at::Tensor& part) {
  const auto read = [part](const ByteSink& sink) {
    for_each_piece(part, [&](const at::Tensor& rows) {
      const at::Tensor here = rows.cpu();
      sink({static_cast<const std::byte*>(here.const_data_ptr()), here.nbytes()});
    });
  };
  return {name, dtype_of(part), part.sizes().vec(), read};
}

/// The rows that a table and one file have in common.
class SharedRows {
 public:
  SharedRows(CheckedFile file, const ClassShard& saved, CenterTable& table)
      : file_(std::move(file)), content_(open()), saved_(saved), table_(table) {
    require("format", kCenterFormat);
    if (const std::int64_t centers = centers_a_class_in(content_);
        centers != saved.centers_a_class()) {
      throw DataError(
          file_.path().string(), "__metadata__",
          counted(centers, "centre") + " a class, want " + std::to_string(saved.centers_a_class()));
    }
    require("classes", std::to_string(saved.classes()));
    require("first_class", std::to_string(saved.begin().v));
    const auto parts = table.parts();
    for (const TensorView& found : content_.tensors()) {
      const bool known =
          found.name == kLearningRates || found.name == kIdentities ||
          std::ranges::any_of(parts, [&](const auto& part) { return part.first == found.name; });
      if (!known) fail(found.name, "this run's class centres have no such part");
    }
  }

  void read_parts() {
    for (const auto& [name, part] : table_.parts()) read_part(name, part);
  }

  MissedSteps missed() {
    if (!TableState::of(table_).history.is_kept()) return {};
    const TensorView& found = content_.tensor(kLearningRates);
    if (found.dtype != "F64") fail(found.name, "dtype " + found.dtype + ", want F64");
    MissedSteps missed{.learning_rates = std::vector<double>(found.bytes.size() / sizeof(double)),
                       .momentum = content_.real(kSgdMomentum),
                       .weight_decay = content_.real(kWeightDecay)};
    file_.read(content_.offset_of(found), std::as_writable_bytes(std::span(missed.learning_rates)));
    return missed;
  }

 private:
  /// The header lies in the first block, and is parsed after that block was checked.
  SafetensorsFile open() {
    std::byte first{};
    file_.read(0, {&first, 1});
    return SafetensorsFile(file_.path());
  }

  [[noreturn]] void fail(const std::string& tensor, const std::string& what) const {
    throw DataError(file_.path().string(), "tensor '" + tensor + "'", what);
  }

  void require(const std::string& key, const std::string& wanted) const {
    if (const std::string& found = content_.metadata(key); found != wanted) {
      throw DataError(file_.path().string(), "__metadata__",
                      key + " '" + found + "', want '" + wanted + "'");
    }
  }

  void read_part(const std::string& name, const at::Tensor& part) {
    const TensorView& found = content_.tensor(name);
    std::vector<std::int64_t> shape = part.sizes().vec();
    shape[0] = saved_.rows();
    if (found.dtype != dtype_of(part) || found.shape != shape) {
      fail(name, found.dtype + " " + shape_text(found.shape) + ", want " + dtype_of(part) + " " +
                     shape_text(shape));
    }
    const ClassShard& own = table_.shard();
    const GlobalClass begin = std::max(own.begin(), saved_.begin());
    const GlobalClass end = std::min(own.end(), saved_.end());
    std::uint64_t offset = content_.offset_of(found) +
                           static_cast<std::uint64_t>(saved_.row(begin).v * row_bytes(part));
    for_each_piece(part.narrow(0, own.row(begin).v, end.v - begin.v), [&](const at::Tensor& rows) {
      const at::Tensor here = rows.is_cpu() ? rows : at::empty(rows.sizes(), rows.scalar_type());
      file_.read(offset, {static_cast<std::byte*>(here.data_ptr()), here.nbytes()});
      if (!rows.is_cpu()) rows.copy_(here);
      offset += here.nbytes();
    });
  }

  CheckedFile file_;
  SafetensorsFile content_;
  ClassShard saved_;
  CenterTable& table_;
};

TensorStream numbers_of(const ClassIdentities& identities, const ClassShard& shard) {
  const auto rows = std::span(identities.numbers)
                        .subspan(static_cast<std::size_t>(shard.begin().v),
                                 static_cast<std::size_t>(shard.rows()));
  return as_stream({kIdentities, "I32", {shard.rows()}, std::as_bytes(rows)});
}

/// The stream reads from `text`.
TensorStream names_of(const ClassIdentities& identities, const ClassShard& shard,
                      std::string& text) {
  for (GlobalClass c = shard.begin(); c < shard.end(); ++c.v)
    text += identities.names[static_cast<std::size_t>(c.v)] + '\0';
  return as_stream({kIdentities, "U8", {std::ssize(text)}, std::as_bytes(std::span(text))});
}

/// Checks numbers that are used as an index.
void require_range(const at::Tensor& counts, std::int64_t most, const char* name) {
  if (!counts.defined()) return;
  const auto [low, high] = at::aminmax(counts);
  if (low.item<std::int64_t>() < 0 || high.item<std::int64_t>() > most) {
    throw Error(std::string("the saved class centres' ") + name + " lie outside 0 to " +
                std::to_string(most));
  }
}

}  // namespace

Checksums save_centers(const CenterTable& table, const ClassIdentities& identities,
                       const std::filesystem::path& path) {
  const ClassShard& shard = table.shard();
  const ClassShard classes = shard.of_centers(1);
  std::vector<TensorStream> streams;
  for (const auto& [name, part] : table.parts()) streams.push_back(stream_of(name, part));
  if (!identities.numbers.empty()) streams.push_back(numbers_of(identities, classes));
  std::string names;
  if (identities.have_names()) streams.push_back(names_of(identities, classes, names));
  Metadata metadata = center_metadata(shard, identities);
  const StepHistory& history = TableState::of(table).history;
  if (history.is_kept()) {  // what is needed to bring a row through its missed steps
    const std::span<const double> rates = history.learning_rates();
    streams.push_back(
        as_stream({kLearningRates, "F64", {std::ssize(rates)}, std::as_bytes(rates)}));
    metadata[kSgdMomentum] = format("%.17g", table.optimizer().momentum);
    metadata[kWeightDecay] = format("%.17g", table.optimizer().weight_decay);
  }
  return write_safetensors(path, std::move(streams), metadata);
}

void load_centers(CenterTable& table, std::int64_t steps, int world,
                  const std::function<CheckedFile(int rank)>& open) {
  const ClassShard& own = table.shard();
  MissedSteps missed;
  for (int rank = 0; rank < world; ++rank) {
    const ClassShard saved = own.on(rank, world);
    if (saved.end() <= own.begin() || own.end() <= saved.begin()) continue;
    SharedRows rows(open(rank), saved, table);
    rows.read_parts();
    missed = rows.missed();
  }
  require_range(table.part("steps_seen"), std::ssize(missed.learning_rates), "steps");
  require_range(table.part("updates"), steps, "numbers of updates");
  TableState::of(table).resume(steps, missed);
}

}  // namespace pfc
