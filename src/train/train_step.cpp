#include "pfc/train/train_step.h"

#include <torch/nn/functional/normalization.h>
#include <torch/nn/utils/clip_grad.h>

#include <cmath>
#include <limits>

#include "train/finite.h"

namespace pfc {
namespace {

using torch::nn::functional::normalize;

at::Tensor pixels_of(const Batch& batch) {
  const auto images = static_cast<std::int64_t>(batch.valid.size());
  return at::from_blob(const_cast<std::uint8_t*>(batch.pixels.data()), {images, 112, 112, 3},
                       at::kByte);
}

/// A value of each of this rank's images -> one of each image of the global batch, in the plan's
/// order: ranks hold a share of every micro-batch.
at::Tensor gather_in_order(const at::Tensor& local, const StepPlan& plan, Communicator& comm) {
  return comm.all_gather(local)
      .wait()
      .view({comm.world(), plan.micro_batches, -1})
      .transpose(0, 1)
      .reshape({-1});
}

/// unit [share, d] -> [W·share, d], unit rows.
at::Tensor gather_embeddings(const at::Tensor& unit, const Training& training) {
  if (training.gather == NumberType::kFloat32) return training.comm.all_gather(unit).wait();
  const at::Tensor all = training.comm.all_gather(unit.to(at::kBFloat16)).wait();
  return normalize(all.to(at::kFloat));
}

std::vector<std::int64_t> places_of_zeros(const at::Tensor& valid) {
  std::vector<std::int64_t> places;
  for (std::int64_t i = 0; i < valid.size(0); ++i) {
    if (valid.const_data_ptr<float>()[i] == 0) places.push_back(i);
  }
  return places;
}

void set_learning_rate(torch::optim::Optimizer& optimizer, double lr) {
  for (auto& group : optimizer.param_groups()) group.options().set_lr(lr);
}

}  // namespace

StepResult train_step(const StepPlan& plan, const Batch& batch, double lr, Training& training) {
  auto& [backbone, head, gradients, optimizer, comm, clip_norm, gather] = training;

  const at::Tensor pixels = pixels_of(batch);  // [b, 112, 112, 3]
  const at::Tensor valid = gather_in_order(at::tensor(batch.valid), plan, comm);  // [B]
  head.begin(plan.classes, valid);
  gradients.zero();
  const std::int64_t share = pixels.size(0) / plan.micro_batches, samples = share * comm.world();
  for (std::int64_t part = 0; part < plan.micro_batches; ++part) {
    const std::int64_t first = part * samples;  // of the micro-batch in the global batch
    const at::Tensor images = to_network_input(pixels.narrow(0, part * share, share));
    backbone.set_draws(plan.step, first + comm.rank() * share);
    const at::Tensor x = normalize(backbone.forward(images));        // [share, d] unit rows
    const at::Tensor all = gather_embeddings(x.detach(), training);  // [samples, d]

    head.forward(all, first);  // pass 1: softmax and d_embeddings, tile by tile
    head.exchange(comm);       // 12 bytes a sample; now the loss is known
    require_finite_loss(plan, lr, all, first, training);
    Pending dx = comm.reduce_scatter(head.d_embeddings());
    if (part + 1 < plan.micro_batches) {
      head.accumulate(dx);
    } else {
      head.update(lr, dx);  // pass 2: centres updated in place, while dx travels
      gradients.send_when_full();
    }
    x.backward(dx.wait());
  }
  gradients.finish();  // the loss is the mean over the global batch, so they are sums over ranks

  const double limit = clip_norm > 0 ? clip_norm : std::numeric_limits<double>::infinity();
  const double norm = torch::nn::utils::clip_grad_norm_(backbone.parameters(), limit);
  require_finite_gradient(norm, plan, lr, training);
  set_learning_rate(optimizer, lr);
  optimizer.step();
  return {head.loss(), norm, places_of_zeros(valid)};
}

}  // namespace pfc
