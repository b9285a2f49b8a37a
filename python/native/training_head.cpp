#include "native/training_head.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "comm/first_failure.h"
#include "head/table_state.h"
#include "pfc/base/error.h"

namespace pfc::python {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// While it lives, operators are plain arithmetic. Autocast does nothing, because the head's
/// numbers are float32; and no operator asks what autograd wants of it, which takes as long as the
/// work of a small one.
class PlainArithmetic {
  c10::impl::ExcludeDispatchKeyGuard autocast_{c10::autocast_dispatch_keyset};
  at::AutoDispatchBelowADInplaceOrView autograd_;
};

/// What ranks tell each other before a forward pass, with their labels behind it.
struct Greeting {
  std::int64_t fingerprint, step, samples, wants_gradient, is_wrong;
};
constexpr std::int64_t kGreeting = sizeof(Greeting) / sizeof(std::int64_t);

bool is_float(at::ScalarType type) {
  return at::isFloatingType(type) && !at::isFloat8Type(type);
}

/// Backward of x / max(‖x‖, 1e-12), times `factor` [1].
at::Tensor through_normalisation(const at::Tensor& d_unit, const at::Tensor& unit,
                                 const at::Tensor& lengths, const at::Tensor& factor) {
  const at::Tensor along = (d_unit * unit).sum(1, /*keepdim=*/true);
  return at::addcmul(d_unit, along, unit, -1).mul_(factor / lengths);
}

}  // namespace

struct HeadLoss : torch::autograd::Function<HeadLoss> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& embeddings,
                            const at::Tensor& labels, c10::intrusive_ptr<TrainingHead> head,
                            bool wants_gradient) {
    const at::Tensor loss = head->run(embeddings, labels, wants_gradient);
    context->saved_data["number"] = head->forwards_;
    context->saved_data["head"] = c10::IValue::make_capsule(std::move(head));
    return loss;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& d_loss) {
    const auto head =
        c10::static_intrusive_pointer_cast<TrainingHead>(context->saved_data["head"].toCapsule());
    return {head->backward(context->saved_data["number"].toInt(), d_loss[0]), {}, {}, {}};
  }
};

TrainingHead::TrainingHead(const TrainingHeadOptions& options, std::unique_ptr<Communicator> comm)
    : options_(options),
      comm_(std::move(comm)),
      sampler_(options.sampler, ClassShard(options.classes, comm_->rank(), comm_->world())),
      head_(options.head, sampler_.shard()),
      weight_(head_.settled_table().weights()) {}

void TrainingHead::require_this_process() const {
  if (::getpid() == process_) return;
  throw Error("the head belongs to process " + std::to_string(process_) +
              ", and this is a fork of it: DataLoader workers cannot use a head");
}

std::string TrainingHead::wrong_with(const at::Tensor& embeddings, const at::Tensor& labels) const {
  const auto shape = [](const at::Tensor& tensor) {
    return tensor.toString() + " " + c10::str(tensor.sizes());
  };
  const std::int64_t dim = options_.head.table.dim;
  if (embeddings.dim() != 2 || embeddings.size(1) != dim || embeddings.size(0) == 0 ||
      !is_float(embeddings.scalar_type())) {
    return "the head wants embeddings [b, " + std::to_string(dim) +
           "] of a float type, b at least 1, got " + shape(embeddings);
  }
  if (embeddings.device() != head_.device()) {
    return "the embeddings are on " + embeddings.device().str() + ", the head on " +
           head_.device().str() + "; move one of them";
  }
  const bool is_list = labels.dim() == 1 || (labels.dim() == 2 && labels.size(1) == 1);
  if (!is_list || labels.size(0) != embeddings.size(0) ||
      !at::isIntegralType(labels.scalar_type(), /*includeBool=*/false)) {
    return "the head wants integer labels [" + std::to_string(embeddings.size(0)) +
           "], one for each embedding, got " + shape(labels);
  }
  return "";
}

std::pair<std::vector<GlobalClass>, bool> TrainingHead::agree(const at::Tensor& embeddings,
                                                              const at::Tensor& labels,
                                                              bool wants_gradient) {
  const std::string wrong = wrong_with(embeddings, labels);
  at::Tensor own;
  Greeting greeting = {options_.fingerprint, step_, 0, wants_gradient, !wrong.empty()};
  if (wrong.empty()) {
    own = labels.reshape({-1}).to(at::kCPU, at::kLong).contiguous();
    greeting.samples = own.size(0);
  }
  const int world = comm_->world();
  if (world == 1 && wrong.empty()) return {classes_of(own), wants_gradient};
  // Every rank sends as much as it did before, so that a batch of another size meets no collective
  // of another size.
  const at::Tensor sent = at::zeros({1, kGreeting + most_labels_}, at::kLong);
  std::memcpy(sent.data_ptr(), &greeting, sizeof greeting);
  const std::int64_t fits = std::min(most_labels_, greeting.samples);
  if (fits > 0)
    std::copy_n(own.const_data_ptr<std::int64_t>(), fits,
                sent.data_ptr<std::int64_t>() + kGreeting);
  const at::Tensor all = comm_->all_gather(sent).wait();
  const auto of = [&](int rank) {
    Greeting found;
    std::memcpy(&found, all.const_data_ptr<std::int64_t>() + rank * sent.size(1), sizeof found);
    return found;
  };
  const auto any = [&](auto&& holds) {
    for (int rank = 0; rank < world; ++rank) {
      if (holds(of(rank))) return rank;
    }
    return -1;
  };

  if (any([](const Greeting& each) { return each.is_wrong != 0; }) >= 0)
    throw std::invalid_argument(first_failure(wrong, *comm_)->sentence);
  const Greeting first = of(0);
  if (const int rank = any([&](const Greeting& each) { return each.samples != first.samples; });
      rank >= 0) {
    throw std::invalid_argument(
        "rank 0 has " + std::to_string(first.samples) + " samples and rank " +
        std::to_string(rank) + " has " + std::to_string(of(rank).samples) +
        "; the head wants batches of the same size on all ranks (drop_last=True)");
  }
  if (const int rank =
          any([&](const Greeting& each) { return each.fingerprint != first.fingerprint; });
      rank >= 0) {
    throw std::invalid_argument("the heads of rank 0 and rank " + std::to_string(rank) +
                                " were made with different settings");
  }
  if (const int rank = any([&](const Greeting& each) { return each.step != first.step; });
      rank >= 0) {
    throw std::invalid_argument("rank 0 is at step " + std::to_string(first.step) + " and rank " +
                                std::to_string(rank) + " at step " + std::to_string(of(rank).step) +
                                ": they did not load the same state");
  }

  const std::int64_t samples = first.samples;
  at::Tensor gathered = all.narrow(1, kGreeting, std::min(most_labels_, samples));
  if (samples > most_labels_) {
    gathered = comm_->all_gather(own).wait().view({world, samples});
    most_labels_ = samples;
  }
  return {classes_of(gathered.contiguous()),
          any([](const Greeting& each) { return each.wants_gradient != 0; }) >= 0};
}

/// labels [W, b] or, of one rank, [b].
std::vector<GlobalClass> TrainingHead::classes_of(const at::Tensor& labels) const {
  const std::int64_t samples = labels.size(-1);
  std::vector<GlobalClass> found;
  found.reserve(static_cast<std::size_t>(labels.numel()));
  for (std::int64_t i = 0; i < labels.numel(); ++i) {
    const std::int64_t label = labels.const_data_ptr<std::int64_t>()[i];
    if (label < 0 || label >= options_.classes) {
      throw std::invalid_argument("label " + std::to_string(label) + " of rank " +
                                  std::to_string(i / samples) + "'s sample " +
                                  std::to_string(i % samples) + ", want 0 to " +
                                  std::to_string(options_.classes - 1));
    }
    found.push_back({label});
  }
  return found;
}

at::Tensor TrainingHead::forward(const at::Tensor& embeddings, const at::Tensor& labels) {
  require_this_process();
  const bool wants_gradient = at::GradMode::is_enabled() && embeddings.requires_grad();
  return HeadLoss::apply(embeddings, labels, c10::intrusive_ptr<TrainingHead>::reclaim_copy(this),
                         wants_gradient);
}

/// The head's step, or its next part, with these labels of all ranks.
void TrainingHead::begin(std::vector<GlobalClass> labels, bool trains) {
  if ((waits_for_step_ || accumulated_) && !has_mark()) {  // zero_grad instead of a step
    forget_gradient();
    ++step_;
  }
  if (!trains) {
    classes_ = sampler_.draw(step_, labels);
    head_.begin(classes_, at::ones({std::ssize(labels)}, at::kFloat));
    return;
  }
  if (waits_for_step_) {
    Pending nothing(at::Tensor(), nullptr, nullptr);
    head_.accumulate(nothing);
    waits_for_step_ = false;
    accumulated_ = true;
  }
  if (!accumulated_) {
    labels_ = std::move(labels);
    classes_ = sampler_.draw(step_, labels_);
    head_.begin(classes_, at::ones({std::ssize(labels_)}, at::kFloat));
    return;
  }
  const at::Tensor valid = at::zeros({std::ssize(labels_) + std::ssize(labels)}, at::kFloat);
  valid.narrow(0, std::ssize(labels_), std::ssize(labels)).fill_(1);
  labels_.insert(labels_.end(), labels.begin(), labels.end());
  classes_ = sampler_.draw(step_, labels_);
  head_.extend(classes_, valid);
}

at::Tensor TrainingHead::run(const at::Tensor& embeddings, const at::Tensor& labels,
                             bool wants_gradient) {
  const PlainArithmetic plain_arithmetic;
  last_.reset();
  ++forwards_;
  auto [all_labels, trains] = agree(embeddings, labels, wants_gradient);
  if (!trains && has_gradient()) {
    throw Error(
        "a loss without a gradient was asked for between a backward pass and its step; the head "
        "keeps one batch at a time");
  }
  const std::int64_t samples = std::ssize(all_labels);
  const at::Tensor x = embeddings.detach().to(at::kFloat).contiguous();
  const at::Tensor lengths = at::linalg_vector_norm(x, 2, 1, /*keepdim=*/true).clamp_min_(1e-12);
  const at::Tensor unit = x / lengths;
  Pending all_units = comm_->all_gather(unit);
  begin(std::move(all_labels), trains);
  Embeddings all = {all_units.wait()};
  if (uses_length(options_.head.loss)) all.lengths = comm_->all_gather(lengths.view({-1})).wait();

  const at::Tensor moving = head_.moving_numbers();
  const at::Tensor before = trains ? at::Tensor() : moving.clone();
  head_.forward(all, *comm_, trains ? std::ssize(labels_) - samples : 0);
  head_.exchange(*comm_);
  const at::Tensor loss = head_.loss_tensor().to(at::kFloat);
  if (!trains) {
    moving.copy_(before);
    return loss;
  }
  if (!one_.defined()) one_ = at::ones({1}, loss.options());
  last_.emplace(Forward{forwards_, embeddings.scalar_type(), unit, lengths,
                        at::add(one_, loss, /*alpha=*/0),
                        comm_->reduce_scatter(head_.d_embeddings())});
  if (head_.d_lengths().defined())
    last_->d_lengths.emplace(comm_->reduce_scatter(head_.d_lengths()));
  return loss;
}

at::Tensor TrainingHead::backward(std::int64_t number, const at::Tensor& d_loss) {
  const at::NoGradGuard no_grad;
  const PlainArithmetic plain_arithmetic;
  require_this_process();
  if (!last_ || last_->number != number) {
    throw Error(number == forwards_
                    ? "backward was called twice for one loss of the head, which keeps nothing "
                      "after the first time"
                    : "backward was called for a loss of the head after its next forward; the "
                      "head keeps one batch at a time: call backward after each forward");
  }
  Forward last = std::move(*last_);
  last_.reset();

  const at::Tensor by = d_loss.to(at::kFloat).view({1});
  // 1 if everything is finite on every rank, and else NaN. The loss is the same on all of them; a
  // gradient in float16 may overflow on one alone.
  at::Tensor mark = last.mark;
  at::Tensor factor = by * mark;
  if (options_.gradients_are_averaged && comm_->world() > 1) factor.mul_(comm_->world());
  at::Tensor d_x = through_normalisation(last.d_unit.wait(), last.unit, last.lengths, factor);
  if (last.d_lengths) d_x.addcmul_((last.d_lengths->wait() * factor).unsqueeze(1), last.unit);
  d_x = d_x.to(last.type);
  if (last.type == at::kHalf) {
    at::Tensor overflows = d_x.isfinite().all().logical_not().to(at::kFloat).view({1});
    comm_->all_reduce(overflows).wait();
    mark.masked_fill_(overflows > 0, kNan);
    d_x.mul_(mark.to(at::kHalf));
  }

  head_.weigh(by);
  if (accumulated_) {
    if (has_mark()) {
      mark = mark * this->mark()._values();
    } else {  // zero_grad between forward and backward
      head_.weigh(at::zeros_like(by), PartialFc::GradientsOf::kEarlierOnes);
    }
  }
  waits_for_step_ = true;
  set_mark(mark);
  return d_x;
}

void TrainingHead::set_mark(const at::Tensor& value) {
  if (!mark_place_.defined())
    mark_place_ = at::zeros({2, 1}, at::TensorOptions(weight_.device()).dtype(at::kLong));
  const at::Tensor there = value.to(weight_.device());
  weight_.mutable_grad() = at::_sparse_coo_tensor_with_dims_and_tensors(
      /*sparse_dim=*/2, /*dense_dim=*/0, weight_.sizes(), mark_place_, there,
      there.options().layout(at::kSparse), /*is_coalesced=*/true);
}

void TrainingHead::forget_gradient() {
  waits_for_step_ = accumulated_ = false;
  weight_.mutable_grad().reset();
}

void TrainingHead::update(double lr, const CenterOptimizer& optimizer, const at::Tensor& grad_scale,
                          const at::Tensor& found_inf) {
  const at::NoGradGuard no_grad;
  const PlainArithmetic plain_arithmetic;
  require_this_process();
  if (!has_gradient()) {
    throw Error(
        "the optimizer of the head was asked for a step before a backward pass of its loss");
  }
  const at::TensorOptions as_factor = at::TensorOptions(head_.device()).dtype(at::kFloat);
  at::Tensor factor = mark()._values().to(as_factor);
  if (grad_scale.defined()) factor = factor / grad_scale.to(as_factor).view({1});
  at::Tensor skip = factor * 0;  // NaN, which is not 0, where the factor is not finite
  if (found_inf.defined()) {
    skip = at::maximum(skip, found_inf.to(as_factor).view({1}));
    comm_->all_reduce(skip).wait();  // equal already, unless a rank has set it alone
  }
  if (!waits_for_step_) head_.weigh(at::zeros({1}, as_factor));  // a forward without backward
  head_.weigh(factor);
  if (accumulated_) head_.weigh(factor, PartialFc::GradientsOf::kEarlierOnes);
  head_.set_optimizer(optimizer);
  head_.update(lr, skip);
  ++step_;
  forget_gradient();
}

void TrainingHead::catch_up() {
  if (options_.head.table.in_host_memory && (last_ || has_gradient())) {
    throw Error(
        "class centres in host memory cannot be looked at between a forward pass and its step");
  }
  head_.catch_up();
}

void TrainingHead::resume(std::int64_t step, std::int64_t updates) {
  last_.reset();
  forget_gradient();
  step_ = step;
  CenterTable& table = head_.settled_table();
  TableState::of(table).resume(updates, {.learning_rates = {},
                                         .momentum = table.optimizer().momentum,
                                         .weight_decay = table.optimizer().weight_decay});
}

at::Tensor TrainingHead::sampled_rows() const {
  const std::vector<LocalRow> rows = classes_.rows();
  static_assert(sizeof(LocalRow) == sizeof(std::int64_t));
  return at::from_blob(const_cast<LocalRow*>(rows.data()), {std::ssize(rows)}, at::kLong).clone();
}

}  // namespace pfc::python
