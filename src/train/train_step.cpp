#include "pfc/train/train_step.h"

#include <torch/nn/functional/normalization.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "comm/send.h"
#include "pfc/base/error.h"
#include "train/finite.h"

namespace pfc {
namespace {

using torch::nn::functional::normalize;

at::Tensor pixels_of(const Batch& batch) {
  const auto images = static_cast<std::int64_t>(batch.valid.size());
  return at::from_blob(const_cast<std::uint8_t*>(batch.pixels.data()), {images, 112, 112, 3},
                       at::kByte);
}

/// One value for each of this rank's images -> one for each image of the global batch, in the
/// plan's order (each rank holds a share of every micro-batch).
at::Tensor gather_in_order(const at::Tensor& local, const StepPlan& plan, Communicator& comm) {
  return comm.all_gather(local)
      .wait()
      .view({comm.world(), plan.micro_batches, -1})
      .transpose(0, 1)
      .reshape({-1});
}

void require_an_image(std::int64_t decoded, const StepPlan& plan) {
  if (decoded > 0) return;
  throw Error("step " + std::to_string(plan.step) + ": none of the " +
              std::to_string(plan.images.size()) +
              " images of its batch decodes, so there is nothing to learn from; a run that begins "
              "anew leaves them out, and of a larger train.batch_size some would decode");
}

/// unit [share, d] -> [W·share, d], unit rows.
at::Tensor gather_unit_rows(const at::Tensor& unit, const Training& training) {
  if (training.gather == NumberType::kFloat32) return training.comm.all_gather(unit).wait();
  const at::Tensor all = training.comm.all_gather(unit.to(at::kBFloat16)).wait();
  return normalize(all.to(at::kFloat));
}

/// All ranks' embeddings, without gradients.
Embeddings gather_embeddings(const Embeddings& x, const Training& training) {
  Embeddings all{gather_unit_rows(x.unit.detach(), training)};
  if (x.lengths.defined()) all.lengths = training.comm.all_gather(x.lengths.detach()).wait();
  return all;
}

/// This rank's part of the sum over ranks; undefined where the loss has no such gradient.
at::Tensor reduce_lengths(const at::Tensor& d_lengths, Communicator& comm) {
  return d_lengths.defined() ? comm.reduce_scatter(d_lengths).wait() : at::Tensor();
}

/// [1]: not 0 if a step with these numbers must be skipped.
at::Tensor not_finite(const at::Tensor& loss, const at::Tensor& norm) {
  return (loss + norm).isfinite().logical_not().to(at::kFloat).view({1});
}

void clip(GradientBuckets& gradients, const at::Tensor& norm, double limit) {
  if (limit > 0) gradients.scale((limit / (norm + 1e-6)).clamp_max(1));
}

}  // namespace

PendingStep train_step(const StepPlan& plan, const Batch& batch, double lr, Training& training) {
  auto& [backbone, head, gradients, optimizer, comm, clip_norm, gather, precision, scaler, pass] =
      training;
  if (pass == nullptr) pass = make_backbone_pass(training);
  const at::Device device = head.device();

  const at::Tensor pixels = send(pixels_of(batch), device);  // [b, 112, 112, 3]
  const at::Tensor valid =
      gather_in_order(send(at::tensor(batch.valid), device), plan, comm);  // [B]
  if (device.is_cpu()) require_an_image(valid.count_nonzero().item<std::int64_t>(), plan);
  head.begin(plan.classes, valid);
  gradients.zero();
  const std::int64_t share = pixels.size(0) / plan.micro_batches, samples = share * comm.world();
  for (std::int64_t part = 0; part < plan.micro_batches; ++part) {
    const std::int64_t first = part * samples;  // place of the micro-batch in the global batch
    const bool last = part + 1 == plan.micro_batches;
    backbone.set_draws(plan.step, first + comm.rank() * share, share);
    const Embeddings x = pass->forward(pixels.narrow(0, part * share, share));  // [share, d]
    const Embeddings all = gather_embeddings(x, training);                      // [samples, d]

    head.forward(all, comm, first);  // pass 1: softmax and d_embeddings, tile by tile
    head.exchange(comm);             // 24 bytes a sample; now the loss is known
    if (device.is_cpu()) require_finite_loss(plan, lr, all.unit, first, training);
    Pending dx = comm.reduce_scatter(head.d_embeddings());
    if (!last) {
      head.accumulate(dx);
    } else if (scaler == nullptr) {
      head.update(lr, dx);  // pass 2: centres updated, while dx travels
    }
    const at::Tensor d_unit = dx.wait();
    // The last one leaves sums over ranks, because the loss is the mean over the global batch.
    pass->backward(d_unit, reduce_lengths(head.d_lengths(), comm), last);
  }

  const at::Tensor overflow = scaler == nullptr ? at::Tensor() : scaler->unscale(gradients.flat());
  const at::Tensor loss = head.loss_tensor(), norm = gradients.norm();
  if (device.is_cpu() && scaler == nullptr)
    require_finite_gradient(norm.item<double>(), plan, lr, training);
  const at::Tensor skip = not_finite(loss, norm);
  if (scaler != nullptr) {  // only now it is known whether the step counts
    head.update(lr, skip);
    scaler->update(overflow);
  }
  clip(gradients, norm, clip_norm);
  optimizer.step(lr, skip, scaler == nullptr ? at::Tensor() : scaler->skipped());
  return PendingStep(
      at::cat({loss.view({1}), norm.view({1}).to(at::kDouble), valid.to(at::kDouble)}));
}

StepResult PendingStep::wait() {
  const at::Tensor& found = values_.wait();
  const auto* const values = found.const_data_ptr<double>();
  StepResult result{.loss = values[0], .gradient_norm = values[1]};
  for (std::int64_t i = 2; i < found.size(0); ++i) {
    if (values[i] == 0) result.without_image.push_back(i - 2);
  }
  return result;
}

void require_finite(const StepResult& result, const StepPlan& plan, double lr,
                    const Training& training) {
  require_an_image(std::ssize(plan.images) - std::ssize(result.without_image), plan);
  if (!std::isfinite(result.loss)) fail_by_loss(plan, lr, training);
  if (training.scaler == nullptr) require_finite_gradient(result.gradient_norm, plan, lr, training);
}

}  // namespace pfc
