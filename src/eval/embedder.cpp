#include "pfc/eval/embedder.h"

#include <c10/core/InferenceMode.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/evaluation_mode.h"
#include "pfc/base/error.h"
#include "pfc/comm/gpus.h"
#include "pfc/data/image_codec.h"
#include "pfc/model/backbone.h"
#include "pfc/model/backbone_file.h"

namespace pfc {
namespace {

class PairImages final : public ImageSource {
 public:
  explicit PairImages(const VerificationSet& set) : set_(set) {}

  std::int64_t size() const override { return 2 * set_.pairs(); }
  std::span<const std::byte> image(std::int64_t index, std::vector<std::byte>&) const override {
    return set_.image(index);
  }
  std::string name(std::int64_t index) const override { return "image " + std::to_string(index); }

 private:
  const VerificationSet& set_;
};

/// Images [begin, end) of a source, being decoded by other threads.
class Decoding {
 public:
  Decoding(const ImageSource& images, std::int64_t begin, std::int64_t end, int threads)
      : begin_(begin),
        pixels_(torch::empty({end - begin, kFaceSize, kFaceSize, 3}, torch::kUInt8)),
        reasons_(static_cast<std::size_t>(end - begin)) {
    for (int t = 0; t < threads; ++t) {
      const std::int64_t first = (end - begin) * t / threads;
      const std::int64_t last = (end - begin) * (t + 1) / threads;
      parts_.push_back(std::async(std::launch::async, [this, &images, first, last] {
        std::vector<std::byte> scratch;
        for (std::int64_t i = first; i < last; ++i) decode(images, i, scratch);
      }));
    }
  }

  /// Until all are decoded and on the device.
  void wait(at::Device device) {
    for (auto& part : parts_) part.get();
    pixels_ = pixels_.to(device);
  }

  std::int64_t begin() const { return begin_; }
  std::int64_t size() const { return pixels_.size(0); }
  /// [end − begin, 112, 112, 3] uint8; zeros where an image did not decode.
  const torch::Tensor& pixels() const { return pixels_; }
  /// What is wrong with an image; empty where nothing is.
  const std::string& reason(std::int64_t i) const { return reasons_[static_cast<std::size_t>(i)]; }

 private:
  void decode(const ImageSource& images, std::int64_t i, std::vector<std::byte>& scratch) {
    constexpr std::int64_t kBytes = kFaceSize * kFaceSize * 3;
    std::uint8_t* const pixels = pixels_.data_ptr<std::uint8_t>() + i * kBytes;
    try {
      images.face(begin_ + i, scratch, pixels);
    } catch (const Error& error) {
      std::fill_n(pixels, kBytes, std::uint8_t{0});
      reasons_[static_cast<std::size_t>(i)] = error.what();
    }
  }

  std::int64_t begin_;
  torch::Tensor pixels_;
  std::vector<std::string> reasons_;
  std::vector<std::future<void>> parts_;  // destroyed, and so waited for, before the others
};

at::Device device_of(const Backbone& network) {
  const auto parameters = network.parameters();
  return parameters.empty() ? at::kCPU : parameters.front().device();
}

int decoding_threads(const EmbedOptions& options, at::Device device) {
  constexpr int kBesideOneOnTheCpu = 2;
  if (options.threads > 0) return options.threads;
  return device.is_cpu() ? kBesideOneOnTheCpu : torch::get_num_threads();
}

/// Calls body(decoded) for one batch of images [begin, end) after another, its pixels where the
/// network is, while the next one is decoded.
template <typename Body>
void for_each_batch(const Backbone& network, const ImageSource& images, std::int64_t begin,
                    std::int64_t end, const EmbedOptions& options, const Body& body) {
  const at::Device device = device_of(network);
  const int threads = decoding_threads(options, device);
  const auto decoding_from = [&](std::int64_t first) {
    return std::make_unique<Decoding>(images, first, std::min(first + options.batch_size, end),
                                      threads);
  };
  auto decoding = decoding_from(begin);
  for (std::int64_t done = begin; done < end;) {
    decoding->wait(device);
    const auto decoded = std::exchange(decoding, nullptr);
    done += decoded->size();
    if (done < end) decoding = decoding_from(done);
    body(*decoded);
    if (options.progress) options.progress(done - begin, end - begin);
  }
}

std::span<const float> values_of(const torch::Tensor& tensor) {
  return {tensor.const_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())};
}

/// pixels [n, 112, 112, 3] uint8, where the network is -> [n, d] in host memory.
torch::Tensor embeddings_of(Backbone& network, const torch::Tensor& pixels) {
  return network.forward(to_network_input(pixels)).cpu();
}

/// A rank's images [begin, end) of all.
struct Share {
  Share(std::int64_t all, const Communicator& comm)
      : total(all),
        most((all + comm.world() - 1) / comm.world()),
        // A rank whose share is empty embeds the last image too: it has to know the size of a row.
        begin(std::min(comm.rank() * most, all - 1)),
        end(std::min(begin + most, all)) {}

  std::int64_t total;
  std::int64_t most;  ///< that a rank has; the last ones perhaps fewer or none
  std::int64_t begin, end;
};

/// The rows of this rank's share -> those of all, in order.
std::vector<float> gather_rows(const std::vector<torch::Tensor>& mine, const Share& share,
                               Communicator& comm) {
  const torch::Tensor rows = torch::cat(mine);
  const torch::Tensor padded = torch::zeros({share.most, rows.size(1)});
  padded.narrow(0, 0, rows.size(0)).copy_(rows);
  const torch::Tensor all = comm.all_gather(padded).wait().narrow(0, 0, share.total).contiguous();
  const auto values = values_of(all);
  return {values.begin(), values.end()};
}

}  // namespace

EmbeddingNetwork load_embedding_network(const std::filesystem::path& model, UseGpus use,
                                        int local_rank) {
  const int found = use == UseGpus::kNever ? 0 : gpus();
  const bool on_gpu = decide_on_gpus(use, found > 0 ? 1 : 0, 1);
  EmbeddingNetwork loaded{load_backbone(model)};
  if (!on_gpu) return loaded;
  loaded.gpu = local_rank % found;
  move_to({at::kCUDA, static_cast<c10::DeviceIndex>(*loaded.gpu)}, *loaded.network);
  return loaded;
}

void embed(Backbone& network, const ImageSource& images, const EmbeddingSink& sink,
           const EmbedOptions& options) {
  const torch::InferenceMode no_gradients;
  const EvaluationMode evaluation(network);
  for_each_batch(network, images, 0, images.size(), options, [&](const Decoding& decoded) {
    const torch::Tensor rows = embeddings_of(network, decoded.pixels()).contiguous();
    for (std::int64_t i = 0; i < decoded.size(); ++i) {
      if (const std::string& reason = decoded.reason(i); reason.empty()) {
        sink.embedding(decoded.begin() + i, values_of(rows[i]));
      } else {
        sink.left_out(decoded.begin() + i, reason);
      }
    }
  });
}

Embeddings embed_all(
    Backbone& network, const ImageSource& images, bool with_mirrored,
    const std::function<void(const std::string& name, const std::string& reason)>& left_out,
    const EmbedOptions& options, Communicator& comm) {
  const torch::InferenceMode no_gradients;
  const EvaluationMode evaluation(network);
  const Share mine(images.size(), comm);
  std::vector<torch::Tensor> rows, present;
  for_each_batch(network, images, mine.begin, mine.end, options, [&](const Decoding& decoded) {
    torch::Tensor embedded = embeddings_of(network, decoded.pixels());
    if (with_mirrored) embedded = embedded + embeddings_of(network, decoded.pixels().flip(2));
    torch::Tensor is_there = torch::ones({decoded.size(), 1});
    for (std::int64_t i = 0; i < decoded.size(); ++i) {
      if (decoded.reason(i).empty()) continue;
      is_there[i] = 0;
      left_out(images.name(decoded.begin() + i), decoded.reason(i));
    }
    rows.push_back(embedded);
    present.push_back(is_there);
  });
  Embeddings result;
  result.dim = rows.front().size(1);
  const std::vector<float> all = gather_rows(rows, mine, comm);
  const std::vector<float> there = gather_rows(present, mine, comm);
  const auto dim = static_cast<std::size_t>(result.dim);
  for (std::size_t i = 0; i < there.size(); ++i) {
    if (there[i] == 0) continue;
    const auto row = std::span(all).subspan(i * dim, dim);
    result.values.insert(result.values.end(), row.begin(), row.end());
    result.images.push_back(static_cast<std::int64_t>(i));
  }
  return result;
}

PairEmbeddings embed_pairs(Backbone& network, const VerificationSet& set,
                           const EmbedOptions& options, Communicator& comm) {
  const torch::InferenceMode no_gradients;
  const EvaluationMode evaluation(network);
  PairEmbeddings result;
  result.set = set.name();
  for (std::int64_t pair = 0; pair < set.pairs(); ++pair) result.same.push_back(set.same(pair));
  if (result.same.empty()) return result;

  const PairImages images(set);
  const Share mine(images.size(), comm);
  std::vector<torch::Tensor> originals, mirrored;
  for_each_batch(network, images, mine.begin, mine.end, options, [&](const Decoding& decoded) {
    for (std::int64_t i = 0; i < decoded.size(); ++i) {
      if (const std::string& reason = decoded.reason(i); !reason.empty())
        throw DataError(set.name(), images.name(decoded.begin() + i), reason);
    }
    originals.push_back(embeddings_of(network, decoded.pixels()));
    mirrored.push_back(embeddings_of(network, decoded.pixels().flip(2)));
  });
  result.dim = originals.front().size(1);
  result.originals = gather_rows(originals, mine, comm);
  result.mirrored = gather_rows(mirrored, mine, comm);
  return result;
}

PairEmbeddings embed_pairs(Backbone& network, const VerificationSet& set,
                           const EmbedOptions& options) {
  return embed_pairs(network, set, options, *make_self_communicator());
}

}  // namespace pfc
