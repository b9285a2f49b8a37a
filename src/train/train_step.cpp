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

/// The loss is the mean over the global batch, so gradients are summed over ranks.
void sum_gradients(const std::vector<at::Tensor>& parameters, Communicator& comm) {
  std::vector<Pending> sums;
  for (const at::Tensor& parameter : parameters) {
    if (at::Tensor gradient = parameter.grad(); gradient.defined())
      sums.push_back(comm.all_reduce(gradient));
  }
}

void set_learning_rate(torch::optim::Optimizer& optimizer, double lr) {
  for (auto& group : optimizer.param_groups()) group.options().set_lr(lr);
}

}  // namespace

StepResult train_step(const StepPlan& plan, const Batch& batch, double lr, Training& training) {
  auto& [backbone, head, optimizer, comm, clip_norm] = training;

  const at::Tensor pixels = pixels_of(batch);  // [b, 112, 112, 3]
  head.begin(plan.classes, gather_in_order(at::tensor(batch.valid), plan, comm));
  optimizer.zero_grad();
  const std::int64_t share = pixels.size(0) / plan.micro_batches, samples = share * comm.world();
  for (std::int64_t part = 0; part < plan.micro_batches; ++part) {
    const std::int64_t first = part * samples;  // of the micro-batch in the global batch
    const at::Tensor images = to_network_input(pixels.narrow(0, part * share, share));
    backbone.set_draws(plan.step, first + comm.rank() * share);
    const at::Tensor x = normalize(backbone.forward(images));   // [share, d] unit rows
    const at::Tensor all = comm.all_gather(x.detach()).wait();  // [samples, d]

    head.forward(all, first);  // pass 1: softmax and d_embeddings, tile by tile
    head.exchange(comm);       // 12 bytes a sample; now the loss is known
    require_finite_loss(plan, lr, all, first, training);
    Pending dx = comm.reduce_scatter(head.d_embeddings());
    if (part + 1 < plan.micro_batches) {
      head.accumulate(dx);
    } else {
      head.update(lr, dx);  // pass 2: centres updated in place, while dx travels
    }
    x.backward(dx.wait());
  }

  const std::vector<at::Tensor> parameters = backbone.parameters();
  sum_gradients(parameters, comm);
  const double limit = clip_norm > 0 ? clip_norm : std::numeric_limits<double>::infinity();
  const double norm = torch::nn::utils::clip_grad_norm_(parameters, limit);
  require_finite_gradient(norm, plan, lr, training);
  set_learning_rate(optimizer, lr);
  optimizer.step();
  return {head.loss(), norm};
}

}  // namespace pfc
