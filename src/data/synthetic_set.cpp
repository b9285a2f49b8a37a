#include "pfc/data/synthetic_set.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <system_error>
#include <vector>

#include "data/ordered_work.h"
#include "data/record_index.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/paths.h"
#include "pfc/base/random.h"
#include "pfc/data/contact_sheet.h"
#include "pfc/data/record_io.h"
#include "pfc/data/synthetic_face.h"
#include "pfc/data/verification_set.h"

namespace pfc {
namespace {

constexpr int kQuality = 92;
constexpr std::int64_t kSheetRows = 8, kSheetColumns = 10;
constexpr std::int64_t kFoldedPairs = 20;  // ten folds, two kinds of pairs
constexpr std::int64_t kMostNumber = std::int64_t{1} << 30;

using Encoded = std::vector<std::byte>;

void check(std::string_view what, std::int64_t number, std::int64_t least, std::int64_t most) {
  if (number >= least && number <= most) return;
  throw Error("a synthetic set of " + std::to_string(number) + " " + std::string(what) + ", want " +
              std::to_string(least) + " to " + std::to_string(most));
}

void check(const SyntheticSetOptions& options) {
  check("identities", options.identities, 1, kLargestLabel + 1);
  check("images an identity", options.images, 1, kMostNumber);
  check("unseen identities", options.unseen, 2, kMostNumber);
  check("pairs", options.pairs, kFoldedPairs, kMostNumber);
  check("threads", options.threads, 1, 4096);
  if (options.pairs % kFoldedPairs != 0) {
    throw Error("a synthetic set of " + counted(options.pairs, "pair") + ", want a multiple of " +
                std::to_string(kFoldedPairs) +
                ", so that each of ten folds has as many pairs of one person as of two");
  }
}

void make_folder(const SyntheticSetOptions& options) {
  std::error_code error;
  std::filesystem::create_directories(options.folder, error);
  if (error) throw Error(options.folder.string() + ": cannot make the folder: " + error.message());
  const auto rec = options.folder / "train.rec";
  if (is_there(rec)) {
    throw Error(rec.string() + " is there already; name another folder, or remove it first");
  }
}

struct Draw {
  std::int64_t identity = 0, image = 0;
};

/// A pair of the verification set. No image is in two pairs.
struct Pair {
  Draw first, second;
  bool same = false;
};

Pair pair_at(const SyntheticSetOptions& options, std::int64_t p) {
  const CounterRandom random(options.seed, RandomStream::kFacePair);
  const auto counter = static_cast<std::uint64_t>(p);
  const bool same = p % 2 == 0;
  const std::int64_t one = random.below(options.unseen, counter, 0);
  const std::int64_t step = same ? 0 : 1 + random.below(options.unseen - 1, counter, 1);
  const std::int64_t other = (one + step) % options.unseen;
  return {{options.identities + one, 2 * p}, {options.identities + other, 2 * p + 1}, same};
}

class Job {
 public:
  explicit Job(const SyntheticSetOptions& options)
      : options_(options), total_(options.identities * options.images + 2 * options.pairs) {}

  void write_sheet() const {
    const std::int64_t columns = std::min(options_.images, kSheetColumns);
    std::vector<RgbImage> images;
    for (std::int64_t row = 0; row < std::min(options_.identities, kSheetRows); ++row) {
      for (std::int64_t i = 0; i < columns; ++i) {
        images.push_back(synthetic_face(options_.seed, row, i));
      }
    }
    AtomicFile file(options_.folder / "faces.png");
    file.write(encode_png(contact_sheet(images, {.columns = static_cast<int>(columns)})));
    file.commit();
  }

  void write_pairs() {
    VerificationSetWriter writer(options_.folder / "unseen.bin");
    const auto make = [&](std::int64_t p) {
      const Pair pair = pair_at(options_, p);
      return std::array<Encoded, 2>{encoded(pair.first), encoded(pair.second)};
    };
    ordered_work(options_.pairs, options_.threads, make,
                 [&](std::int64_t p, const std::array<Encoded, 2>& images) {
                   writer.add(images[0], images[1], pair_at(options_, p).same);
                   count(2);
                 });
    writer.commit();
  }

  void write_training_set() {
    FaceRecordWriter writer(options_.folder / "train.rec");
    const auto make = [&](std::int64_t i) {
      return encoded({i / options_.images, i % options_.images});
    };
    ordered_work(options_.identities * options_.images, options_.threads, make,
                 [&](std::int64_t i, const Encoded& image) {
                   writer.add(static_cast<std::int32_t>(i / options_.images), image);
                   count(1);
                 });
    writer.commit();
  }

 private:
  Encoded encoded(const Draw& draw) const {
    return encode_jpeg(synthetic_face(options_.seed, draw.identity, draw.image), kQuality);
  }
  void count(std::int64_t images) {
    done_ += images;
    if (options_.progress) options_.progress(done_, total_);
  }

  const SyntheticSetOptions& options_;
  std::int64_t done_ = 0, total_;
};

}  // namespace

void write_synthetic_set(const SyntheticSetOptions& options) {
  check(options);
  make_folder(options);
  Job job(options);
  job.write_sheet();
  job.write_pairs();
  // Last, because an existing train.rec says that the other files are there.
  job.write_training_set();
}

}  // namespace pfc
