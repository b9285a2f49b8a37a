#include "pfc/eval/embedder.h"

#include <torch/torch.h>

#include <algorithm>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/data/image_codec.h"

namespace pfc {
namespace {

/// Puts a network into evaluation mode for a while. Its modules may have differed in their mode
/// (some may be frozen), so each gets its own back.
class EvaluationMode {
 public:
  explicit EvaluationMode(torch::nn::Module& network)
      : network_(network), was_training_(network.is_training()) {
    for (auto& module : network.modules(/*include_self=*/false)) {
      parts_.emplace_back(module, module->is_training());
    }
    network_.eval();
  }
  ~EvaluationMode() {
    network_.train(was_training_);
    // A module hands its mode down, and stands before its parts here.
    for (const auto& [module, training] : parts_) module->train(training);
  }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  torch::nn::Module& network_;
  bool was_training_;
  std::vector<std::pair<std::shared_ptr<torch::nn::Module>, bool>> parts_;
};

/// Images [begin, end) of a set, being decoded by other threads.
class Decoding {
 public:
  Decoding(const VerificationSet& set, std::int64_t begin, std::int64_t end, int threads)
      : pixels_(torch::empty({end - begin, kFaceSize, kFaceSize, 3}, torch::kUInt8)) {
    std::uint8_t* const pixels = pixels_.data_ptr<std::uint8_t>();
    for (int t = 0; t < threads; ++t) {
      const std::int64_t first = begin + (end - begin) * t / threads;
      const std::int64_t last = begin + (end - begin) * (t + 1) / threads;
      parts_.push_back(std::async(std::launch::async, [&set, pixels, begin, first, last] {
        constexpr std::int64_t kBytes = kFaceSize * kFaceSize * 3;
        for (std::int64_t i = first; i < last; ++i) {
          decode(set, i, pixels + (i - begin) * kBytes);
        }
      }));
    }
  }

  /// [end − begin, 112, 112, 3] uint8. Throws for the first image that does not decode.
  torch::Tensor wait() {
    for (auto& part : parts_) part.get();
    return pixels_;
  }

 private:
  static void decode(const VerificationSet& set, std::int64_t image, std::uint8_t* out) {
    try {
      decode_image(set.image(image), kFaceSize, kFaceSize, out);
    } catch (const Error& error) {
      throw DataError(set.name(), "image " + std::to_string(image), error.what());
    }
  }

  torch::Tensor pixels_;
  std::vector<std::future<void>> parts_;  // destroyed, and so waited for, before the pixels
};

void append(const torch::Tensor& embeddings, std::vector<float>& values) {
  const torch::Tensor rows = embeddings.contiguous();
  values.insert(values.end(), rows.data_ptr<float>(), rows.data_ptr<float>() + rows.numel());
}

}  // namespace

PairEmbeddings embed_pairs(Backbone& network, const VerificationSet& set,
                           const EmbedOptions& options) {
  const torch::InferenceMode no_gradients;
  const EvaluationMode evaluation(network);
  const std::int64_t total = 2 * set.pairs();
  const auto decoding_from = [&](std::int64_t begin) {
    return std::make_unique<Decoding>(set, begin, std::min(begin + options.batch_size, total),
                                      options.threads);
  };

  PairEmbeddings result;
  result.set = set.name();
  for (std::int64_t pair = 0; pair < set.pairs(); ++pair) result.same.push_back(set.same(pair));

  auto decoding = decoding_from(0);
  for (std::int64_t done = 0; done < total;) {
    const torch::Tensor pixels = decoding->wait();
    done += pixels.size(0);
    if (done < total) decoding = decoding_from(done);
    const torch::Tensor embeddings = network.forward(to_network_input(pixels));
    result.dim = embeddings.size(1);
    append(embeddings, result.originals);
    append(network.forward(to_network_input(pixels.flip(2))), result.mirrored);
    if (options.progress) options.progress(done, total);
  }
  return result;
}

}  // namespace pfc
