#include "pfc/train/train_step.h"

#include <torch/nn/functional/normalization.h>
#include <torch/nn/utils/clip_grad.h>

#include <cmath>
#include <limits>

#include "train/finite.h"

namespace pfc {
namespace {

at::Tensor pixels_of(const Batch& batch) {
  const auto images = static_cast<std::int64_t>(batch.valid.size());
  return at::from_blob(const_cast<std::uint8_t*>(batch.pixels.data()), {images, 112, 112, 3},
                       at::kByte);
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

  Pending valid = comm.all_gather(at::tensor(batch.valid));
  const at::Tensor images = to_network_input(pixels_of(batch));
  const at::Tensor x =
      torch::nn::functional::normalize(backbone.forward(images));  // [b, d] unit rows
  const at::Tensor all = comm.all_gather(x.detach()).wait();       // [W·b, d]

  head.forward(all, valid.wait(), plan.classes);  // pass 1: softmax and d_embeddings, tile by tile
  head.exchange(comm);                            // 12 bytes a sample; now the loss is known
  require_finite_loss(plan, lr, all, training);
  Pending dx = comm.reduce_scatter(head.d_embeddings());
  head.update(lr, dx);  // pass 2: centres updated in place, while dx travels

  optimizer.zero_grad();
  x.backward(dx.wait());
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
