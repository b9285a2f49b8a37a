#include "eval/labelled_images.h"

#include <ATen/Functions.h>

#include <utility>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/comm/long_work.h"
#include "pfc/eval/embedder.h"
#include "pfc/model/backbone.h"

namespace pfc {
namespace {

constexpr std::int64_t kBlockImages = 2048;  // embedded in one go

/// Images in memory, in the order of their set.
class HeldImages final : public ImageSource {
 public:
  struct Image {
    std::int64_t identity, number;
    std::string name;
    std::vector<std::byte> bytes;
  };

  void add(const Face& face, std::int64_t number) {
    images_.push_back({face.identity, number, face.name, {face.image.begin(), face.image.end()}});
  }
  void clear() { images_.clear(); }
  const Image& at(std::int64_t i) const { return images_[static_cast<std::size_t>(i)]; }

  std::int64_t size() const override { return std::ssize(images_); }
  std::span<const std::byte> image(std::int64_t i, std::vector<std::byte>&) const override {
    return at(i).bytes;
  }
  std::string name(std::int64_t i) const override { return at(i).name; }

 private:
  std::vector<Image> images_;
};

}  // namespace

std::string LabelledImages::require_order() {
  return long_work(comm_, [&] {
    const auto source = open_();
    std::vector<bool> seen;
    std::int64_t last = -1;
    for (Face face; source->next(face); last = face.identity) {
      const StreamProgress progress = source->progress();
      progress_("looking at labels", progress.done, progress.total);
      if (face.identity == last) continue;
      const auto identity = static_cast<std::size_t>(face.identity);
      if (identity >= seen.size()) seen.resize(identity + 1);
      if (seen[identity]) {
        throw Error("identity " + std::to_string(face.identity) +
                    " comes back after others: `pfc data pack` puts the images of one together");
      }
      seen[identity] = true;
    }
    return source->passed_over();
  });
}

std::int64_t LabelledImages::embed(const std::string& doing,
                                   const std::function<bool(std::int64_t number)>& wanted,
                                   const std::function<void(Embedded image)>& take) {
  const auto source = open_();
  HeldImages block;
  std::int64_t number = 0, not_embedded = 0;
  const auto fill = [&] {
    for (Face face; block.size() < kBlockImages && source->next(face); ++number) {
      if (wanted(number)) block.add(face, number);
    }
    return block.size() > 0;
  };
  while (long_work(comm_, fill)) {
    not_embedded += block.size();
    pfc::embed(
        network_, block,
        {.embedding =
             [&](std::int64_t i, std::span<const float> embedding) {
               --not_embedded;
               const HeldImages::Image& image = block.at(i);
               const at::Tensor row = at::from_blob(const_cast<float*>(embedding.data()),
                                                    {std::ssize(embedding)}, at::kFloat);
               take({image.name, image.identity, image.number, row / row.norm().clamp_min(1e-12)});
             },
         .left_out = [](std::int64_t, const std::string&) {}},
        {.batch_size = batch_size_}, comm_);
    block.clear();
    const StreamProgress progress = source->progress();
    progress_(doing, progress.done, progress.total);
  }
  return not_embedded;
}

}  // namespace pfc
