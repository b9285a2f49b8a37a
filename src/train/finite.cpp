#include "train/finite.h"

#include <cmath>
#include <sstream>

#include "pfc/base/error.h"

namespace pfc {
namespace {

bool is_finite(const at::Tensor& tensor) {
  return tensor.isfinite().all().item<bool>();
}

std::string first_not_finite(const StepPlan& plan, const at::Tensor& embeddings, std::int64_t first,
                             const Training& training) {
  for (const auto& item : training.backbone.named_parameters()) {
    if (!is_finite(item.value())) return "the backbone's parameter " + item.key();
  }
  for (const auto& item : training.backbone.named_buffers()) {
    if (!is_finite(item.value())) return "the backbone's buffer " + item.key();
  }
  for (std::int64_t i = 0; embeddings.defined() && i < embeddings.size(0); ++i) {
    if (is_finite(embeddings[i])) continue;
    const auto image = plan.images[static_cast<std::size_t>(first + i)];
    return "the embedding of sample " + std::to_string(first + i) + " (image " +
           std::to_string(image) + " of the set)";
  }
  const CenterTable& table = training.head.table();
  for (const LocalRow row : plan.classes.rows()) {
    if (is_finite(table.rows({&row, 1}))) continue;
    return "the centre of class " + std::to_string(table.shard().global(row).v);
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
