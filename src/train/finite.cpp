#include "train/finite.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <sstream>
#include <vector>

#include "pfc/base/error.h"

namespace pfc {
namespace {

bool is_finite(const at::Tensor& tensor) {
  return tensor.isfinite().all().item<bool>();
}

/// The first row of [n, d] that holds a number that is not finite; −1 if there is none. It asks the
/// GPU only once, because every answer is a round trip.
std::int64_t first_bad_row(const at::Tensor& rows) {
  const at::Tensor bad = rows.isfinite().all(1).logical_not().to(at::kCPU);
  const bool* const begin = bad.const_data_ptr<bool>();
  const bool* const end = begin + bad.size(0);
  const bool* const found = std::find(begin, end, true);
  return found == end ? -1 : found - begin;
}

/// Of the class centres, about 32 MB.
constexpr std::size_t kRowsAtOnce = 1 << 14;

std::string first_not_finite(const StepPlan& plan, const at::Tensor& embeddings, std::int64_t first,
                             const Training& training) {
  for (const auto& item : training.backbone.named_parameters()) {
    if (!is_finite(item.value())) return "the backbone's parameter " + item.key();
  }
  for (const auto& item : training.backbone.named_buffers()) {
    if (!is_finite(item.value())) return "the backbone's buffer " + item.key();
  }
  const std::int64_t sample = embeddings.defined() ? first_bad_row(embeddings) : -1;
  if (sample >= 0) {
    const auto image = plan.images[static_cast<std::size_t>(first + sample)];
    return "the embedding of sample " + std::to_string(first + sample) + " (image " +
           std::to_string(image) + " of the set)";
  }
  const CenterTable& table = training.head.settled_table();
  const std::int64_t centers = table.shard().centers_a_class();
  std::vector<LocalRow> rows;
  for (const LocalRow of_class : plan.classes.rows()) {
    for (std::int64_t k = 0; k < centers; ++k) rows.push_back({of_class.v * centers + k});
  }
  for (std::size_t begin = 0; begin < rows.size(); begin += kRowsAtOnce) {
    const auto part = std::span(rows).subspan(begin, std::min(kRowsAtOnce, rows.size() - begin));
    const std::int64_t bad = first_bad_row(table.rows(part));
    if (bad < 0) continue;
    const LocalRow row = part[static_cast<std::size_t>(bad)];
    return "the centre of class " + std::to_string(table.shard().global(row).v / centers);
  }
  return "the loss itself";
}

[[noreturn]] void fail(const char* what, const std::string& tensor, const StepPlan& plan,
                       double lr) {
  std::ostringstream text;
  text << "step " << plan.step << ", learning rate " << lr << ": the " << what
       << " is not finite; the first tensor that is not: " << tensor
       << "; try a lower learning rate or a warm-up";
  throw Error(text.str());
}

}  // namespace

void require_finite_loss(const StepPlan& plan, double lr, const at::Tensor& embeddings,
                         std::int64_t first, const Training& training) {
  if (std::isfinite(training.head.loss())) return;
  fail("loss", first_not_finite(plan, embeddings, first, training), plan, lr);
}

void fail_by_loss(const StepPlan& plan, double lr, const Training& training) {
  fail("loss", first_not_finite(plan, at::Tensor(), 0, training), plan, lr);
}

void require_finite_gradient(double norm, const StepPlan& plan, double lr,
                             const Training& training) {
  if (std::isfinite(norm)) return;
  for (const auto& item : training.backbone.named_parameters()) {
    const at::Tensor gradient = item.value().grad();
    if (gradient.defined() && !is_finite(gradient)) {
      fail("gradient of the backbone", "the gradient of " + item.key(), plan, lr);
    }
  }
  fail("gradient of the backbone", "its norm", plan, lr);
}

}  // namespace pfc
