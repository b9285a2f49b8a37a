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

#include "base/ceil_divide.h"
#include "model/evaluation_mode.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/comm/gpus.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/list_name.h"
#include "pfc/model/backbone.h"
#include "pfc/model/backbone_file.h"

namespace pfc {
namespace {

/// Images [begin, end) of a source while other threads decode them.
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

  /// Waits until all are decoded and on the device.
  void wait(at::Device device) {
    for (auto& part : parts_) part.get();
    pixels_ = pixels_.to(device);
  }

  std::int64_t begin() const { return begin_; }
  std::int64_t size() const { return pixels_.size(0); }
  /// [end − begin, 112, 112, 3] uint8; zeros where an image did not decode.
  const torch::Tensor& pixels() const { return pixels_; }
  /// What is wrong with an image; empty if nothing is.
  const std::string& reason(std::int64_t i) const { return reasons_[static_cast<std::size_t>(i)]; }

 private:
  void decode(const ImageSource& images, std::int64_t i, std::vector<std::byte>& scratch) {
    constexpr std::int64_t kBytes = kFaceSize * kFaceSize * 3;
    std::uint8_t* const pixels = pixels_.data_ptr<std::uint8_t>() + i * kBytes;
    try {
      images.face(begin_ + i, scratch, pixels);
    } catch (const IoError&) {  // says nothing about the image
      throw;
    } catch (const Error& error) {
      std::fill_n(pixels, kBytes, std::uint8_t{0});
      reasons_[static_cast<std::size_t>(i)] = error.what();
    }
  }

  std::int64_t begin_;
  torch::Tensor pixels_;
  std::vector<std::string> reasons_;
  std::vector<std::future<void>> parts_;  // declared last: destroyed first, which waits for them
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

/// pixels [n, 112, 112, 3] uint8, on the network's device -> [n, d] in host memory.
torch::Tensor embeddings_of(Backbone& network, const torch::Tensor& pixels) {
  return network.forward(to_network_input(pixels)).cpu();
}

/// The images [begin, end) that all ranks embed before they exchange rows: one batch for each rank,
/// in order.
struct Round {
  Round(std::int64_t first, std::int64_t all, std::int64_t batch_size, const Communicator& comm)
      : begin(first),
        end(std::min(begin + batch_size * comm.world(), all)),
        most(ceil_divide<std::int64_t>(end - begin, comm.world())),
        my_begin(std::min(begin + comm.rank() * most, end)),
        my_end(std::min(my_begin + most, end)) {}

  std::int64_t begin, end;
  std::int64_t
      most;  ///< the most images that a rank has; in the last round some have fewer or none
  std::int64_t my_begin, my_end;  ///< this rank's
};

void require_the_same_images(const ImageSource& images, Communicator& comm) {
  const torch::Tensor sizes = comm.all_gather(torch::tensor({images.size()})).wait();
  for (int rank = 0; rank < comm.world(); ++rank) {
    const auto theirs = sizes[rank].item<std::int64_t>(), first = sizes[0].item<std::int64_t>();
    if (theirs == first) continue;
    throw Error("rank " + std::to_string(rank) + " has " + counted(theirs, "image") +
                " and rank 0 " + grouped(first) +
                ": ranks share the work on one set, which must be the same on all machines");
  }
}

/// Exchanges the reasons why images have no face; returns those of all ranks, in the order of
/// ranks.
std::vector<std::string> reasons_of_all(const Decoding& decoded, std::int64_t count,
                                        Communicator& comm) {
  std::string mine;  // each ends with a zero byte
  for (std::int64_t i = 0; i < count; ++i)
    if (const std::string& reason = decoded.reason(i); !reason.empty()) mine += reason + '\0';
  const torch::Tensor sizes = comm.all_gather(torch::tensor({std::ssize(mine)})).wait();
  mine.resize(static_cast<std::size_t>(sizes.max().item<std::int64_t>()));
  const torch::Tensor texts =
      comm.all_gather(torch::from_blob(mine.data(), {1, std::ssize(mine)}, torch::kUInt8)).wait();
  std::vector<std::string> reasons;
  for (int rank = 0; rank < comm.world(); ++rank) {
    const auto* text = reinterpret_cast<const char*>(texts[rank].const_data_ptr<std::uint8_t>());
    for (const char* const end = text + sizes[rank].item<std::int64_t>(); text < end;)
      text += reasons.emplace_back(text).size() + 1;
  }
  return reasons;
}

/// Gives every image's row to every rank. rows_of(pixels) computes the rows [n, k] of a batch. For
/// each image in order, on every rank, take(image, row [k]) or left_out(image, reason) is called.
template <class RowsOf, class Take, class LeftOut>
void for_each_row(Backbone& network, const ImageSource& images, const EmbedOptions& options,
                  Communicator& comm, const RowsOf& rows_of, const Take& take,
                  const LeftOut& left_out) {
  const torch::InferenceMode no_gradients;
  const EvaluationMode evaluation(network);
  const at::Device device = device_of(network);
  const int threads = decoding_threads(options, device);
  require_the_same_images(images, comm);
  const auto decoding_of = [&](const Round& round) {
    if (round.begin == round.end) return std::unique_ptr<Decoding>();
    // A rank without images decodes the one before, because it must know the size of a row.
    return std::make_unique<Decoding>(images, std::min(round.my_begin, round.end - 1), round.my_end,
                                      threads);
  };
  Round round(0, images.size(), options.batch_size, comm);
  for (auto decoding = decoding_of(round); decoding;) {
    decoding->wait(device);
    const auto decoded = std::move(decoding);
    const Round next(round.end, images.size(), options.batch_size, comm);
    decoding = decoding_of(next);
    const torch::Tensor mine = rows_of(decoded->pixels());
    const std::int64_t columns = mine.size(1);
    // The last column says whether the row belongs to an image.
    const torch::Tensor sent = torch::zeros({round.most, columns + 1});
    sent.narrow(0, 0, mine.size(0)).narrow(1, 0, columns).copy_(mine);
    const std::int64_t my_images = round.my_end - round.my_begin;
    for (std::int64_t i = 0; i < my_images; ++i)
      if (decoded->reason(i).empty()) sent[i][columns] = 1;
    const torch::Tensor all = comm.all_gather(sent).wait();
    const torch::Tensor has_face = all.narrow(0, 0, round.end - round.begin).select(1, columns);
    std::vector<std::string> reasons;
    if (has_face.eq(0).any().item<bool>()) reasons = reasons_of_all(*decoded, my_images, comm);
    auto reason = reasons.begin();
    const float* row = all.const_data_ptr<float>();
    for (std::int64_t i = round.begin; i < round.end; ++i, row += columns + 1) {
      if (row[columns] == 1) {
        take(i, std::span(row, static_cast<std::size_t>(columns)));
      } else {
        left_out(i, *reason++);
      }
    }
    if (options.progress) options.progress(round.end, images.size());
    round = next;
  }
}

}  // namespace

EmbeddingNetwork load_embedding_network(const std::filesystem::path& model, UseGpus use,
                                        int local_rank) {
  const bool found = use != UseGpus::kNever && gpus() > 0;
  const bool on_gpu = decide_on_gpus(use, found ? 1 : 0, 1);
  SavedBackbone saved = open_backbone(model);
  EmbeddingNetwork loaded{.network = saved.backbone, .left_out = std::move(saved.left_out)};
  if (!on_gpu) return loaded;
  loaded.gpu = gpu_of(local_rank);
  move_to({at::kCUDA, static_cast<c10::DeviceIndex>(*loaded.gpu)}, *loaded.network);
  return loaded;
}

void embed(Backbone& network, const ImageSource& images, const EmbeddingSink& sink,
           const EmbedOptions& options, Communicator& comm) {
  const auto rows_of = [&](const torch::Tensor& pixels) {
    const torch::Tensor rows = embeddings_of(network, pixels);
    return options.add_mirrored ? rows + embeddings_of(network, pixels.flip(2)) : rows;
  };
  for_each_row(network, images, options, comm, rows_of, sink.embedding, sink.left_out);
}

void embed(Backbone& network, const ImageSource& images, const EmbeddingSink& sink,
           const EmbedOptions& options) {
  embed(network, images, sink, options, *make_self_communicator());
}

std::unique_ptr<Features> embed_images(
    Backbone& network, const ImageSource& images,
    const std::function<void(std::int64_t image, const std::string& reason)>& left_out,
    const EmbedOptions& options, Communicator& comm) {
  std::vector<float> rows;
  std::int64_t dim = 0;
  std::vector<std::string> names;
  const auto keep = [&](std::int64_t image, std::span<const float> row) {
    dim = std::ssize(row);
    if (rows.empty()) rows.reserve(static_cast<std::size_t>(images.size() * dim));
    rows.insert(rows.end(), row.begin(), row.end());
    names.push_back(list_name(images.name(image)));
  };
  embed(network, images, {.embedding = keep, .left_out = left_out}, options, comm);
  if (names.empty())
    throw Error("none of " + counted(images.size(), "image") + " could be embedded");
  return make_features(std::move(rows), dim, std::move(names));
}

PairEmbeddings embed_pairs(Backbone& network, const VerificationSet& set,
                           const EmbedOptions& options, Communicator& comm) {
  PairEmbeddings result;
  result.set = set.name();
  for (std::int64_t pair = 0; pair < set.pairs(); ++pair) result.same.push_back(set.same(pair));
  const auto images = images_of_pairs(set);
  const auto rows_of = [&](const torch::Tensor& pixels) {
    return torch::cat({embeddings_of(network, pixels), embeddings_of(network, pixels.flip(2))}, 1);
  };
  const auto take = [&](std::int64_t, std::span<const float> row) {
    const auto middle = row.begin() + std::ssize(row) / 2;
    result.dim = std::ssize(row) / 2;
    result.originals.insert(result.originals.end(), row.begin(), middle);
    result.mirrored.insert(result.mirrored.end(), middle, row.end());
  };
  const auto refuse = [&](std::int64_t image, const std::string& reason) {
    throw DataError(set.name(), images->name(image), reason);
  };
  for_each_row(network, *images, options, comm, rows_of, take, refuse);
  return result;
}

PairEmbeddings embed_pairs(Backbone& network, const VerificationSet& set,
                           const EmbedOptions& options) {
  return embed_pairs(network, set, options, *make_self_communicator());
}

}  // namespace pfc
