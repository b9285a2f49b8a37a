// Images/s of the loader, against what libjpeg-turbo alone decodes of the same images with as many
// threads; or of the loader that augments, against the loader that does not; or of the loaders of
// several ranks on this machine, against one alone.
//
//   decode_bench [TRAIN.rec] [--threads N] [--rounds N]
//   decode_bench [TRAIN.rec] --augment NAMES [--threads N] [--rounds N]
//   decode_bench [TRAIN.rec] --ranks N [--rounds N]
//
// Rounds of both alternate in one process, so that whatever else the machine does meets both; the
// ratio is the median of the rounds' ratios. The baseline is the strictest there is: every thread
// decodes a contiguous share of the images into one buffer that stays in its cache. The loader
// fills batches, flips half of the images and hands batches over.
//
// With --ranks each loader has one decoding thread and loads its rank's share of the plan that
// training follows: batches of 128 images a rank, in random order, and every rank plans for itself.

#include <turbojpeg.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <numeric>
#include <thread>

#include "pfc/base/error.h"
#include "pfc/base/random.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/loader.h"
#include "pfc/plan/step_plan.h"

namespace {

using namespace pfc;

constexpr std::int64_t kBatch = 128;
constexpr std::int64_t kImagesARound = 160 * kBatch;
constexpr std::size_t kImageBytes = std::size_t{kFaceSize} * kFaceSize * 3;

/// JPEGs of about the size that faces have (3 KB): smooth shapes under a little noise.
class SyntheticFaces : public Dataset {
 public:
  SyntheticFaces() {
    const CounterRandom random(0, RandomStream{0});
    for (std::uint64_t i = 0; i < 512; ++i) {
      RgbImage image{kFaceSize, kFaceSize, {}};
      for (std::uint64_t at = 0; at < kImageBytes; ++at) {
        const auto x = static_cast<int>(at / 3 % kFaceSize),
                   y = static_cast<int>(at / 3 / kFaceSize);
        const int shape =
            (x * x / 50 + y * static_cast<int>(i % 7) + 40 * static_cast<int>(at % 3)) % 200;
        image.pixels.push_back(static_cast<std::uint8_t>(shape + random.below(12, i, at)));
      }
      encoded_.push_back(encode_jpeg(image, 75));
    }
    labels_.resize(encoded_.size());
    std::iota(labels_.begin(), labels_.end(), 0);
    identities_ = std::ssize(labels_);
  }

  std::span<const std::byte> image(std::int64_t index, std::vector<std::byte>&) const override {
    return encoded_[static_cast<std::size_t>(index)];
  }
  std::string key(std::int64_t index) const override { return std::to_string(index); }
  void exclude(std::int64_t, const std::string&) override {}

 private:
  std::vector<std::vector<std::byte>> encoded_;
};

/// Seconds that `run` takes.
template <class Run>
double seconds(const Run& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void decode_share(const Dataset& dataset, std::int64_t first, std::int64_t last) {
  const tjhandle jpeg = tjInitDecompress();
  std::vector<std::byte> scratch;
  std::vector<std::uint8_t> pixels(kImageBytes);
  for (std::int64_t i = first; i < last; ++i) {
    const auto encoded = dataset.image(i % dataset.size(), scratch);
    tjDecompress2(jpeg, reinterpret_cast<const unsigned char*>(encoded.data()), encoded.size(),
                  pixels.data(), kFaceSize, 0, kFaceSize, TJPF_RGB, TJFLAG_ACCURATEDCT);
  }
  tjDestroy(jpeg);
}

void decode_alone(const Dataset& dataset, int threads) {
  std::vector<std::jthread> running;
  for (int t = 0; t < threads; ++t) {
    running.emplace_back(decode_share, std::cref(dataset), kImagesARound * t / threads,
                         kImagesARound * (t + 1) / threads);
  }
}

void decode_in_loader(Dataset& dataset, const LoaderOptions& options) {
  const auto plan_at = [&](std::int64_t step) {
    StepPlan plan;
    plan.step = step;
    for (std::int64_t i = 0; i < kBatch; ++i) {
      plan.images.push_back((step * kBatch + i) % dataset.size());
      plan.mirror.push_back(i % 2 == 0);
    }
    return plan;
  };
  Loader loader(dataset, plan_at, 0, 0, 1, options);
  for (std::int64_t step = 0; step < kImagesARound / kBatch; ++step) {
    loader.recycle(loader.next().second);
  }
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// What one of `ranks` ranks does with kImagesARound images of all ranks, as in `pfc train`.
void load_share(Dataset& dataset, int rank, int ranks) {
  const ClassSampler sampler({.sample_rate = 0.1}, ClassShard(dataset.identities(), rank, ranks));
  const StepPlanner planner({.batch_size = kBatch * ranks}, dataset.labels(), sampler);
  Loader loader(dataset, [&](std::int64_t step) { return planner.at(step); }, 0, rank, ranks,
                {.threads = 1});
  for (std::int64_t images = 0; images < kImagesARound; images += kBatch * ranks)
    loader.recycle(loader.next().second);
}

void load_on_ranks(Dataset& dataset, int ranks) {
  std::vector<std::jthread> running;
  for (int rank = 0; rank < ranks; ++rank)
    running.emplace_back(load_share, std::ref(dataset), rank, ranks);
}

std::unique_ptr<Dataset> open_images(const std::string& rec) {
  if (rec.empty()) return std::make_unique<SyntheticFaces>();
  return open_dataset({.path = rec});
}

std::string title(const std::string& rec) {
  return rec.empty() ? "synthetic images" : rec;
}

/// Of rounds: images a second, and images a second of processor time, which is what a core does
/// whatever else the machine does.
struct Rates {
  std::vector<double> images, images_a_core;

  /// `run` works through kImagesARound images.
  template <class Run>
  void add_round(const Run& run) {
    const std::clock_t before = std::clock();
    images.push_back(kImagesARound / seconds(run));
    images_a_core.push_back(kImagesARound * double{CLOCKS_PER_SEC} /
                            static_cast<double>(std::clock() - before));
  }
};

void print_ranks(const std::string& what, const Rates& rates, int ranks) {
  std::printf("%-20s  %10.0f  %10.0f  %10.0f\n", what.c_str(), median(rates.images),
              median(rates.images) / ranks, median(rates.images_a_core));
}

void compare_ranks(const std::string& rec, int ranks, int rounds) {
  const auto dataset = open_images(rec);
  load_on_ranks(*dataset, 1);  // brings the file into memory
  Rates one, all;
  for (int round = 0; round < rounds; ++round) {
    one.add_round([&] { load_on_ranks(*dataset, 1); });
    all.add_round([&] { load_on_ranks(*dataset, ranks); });
  }
  std::printf("%s, %u cores, %d rounds of %lld images, one decoding thread a rank\n\n",
              title(rec).c_str(), std::thread::hardware_concurrency(), rounds,
              static_cast<long long>(kImagesARound));
  std::printf("%-20s  %10s  %10s  %10s\n", "median images/s", "all ranks", "a rank", "a core");
  print_ranks("one loader alone", one, 1);
  print_ranks(std::to_string(ranks) + " loaders", all, ranks);
  std::printf("extrapolated to a core for each of them: %.0f images/s, which was not measured\n",
              median(all.images_a_core) * ranks);
}

void compare_decoders(const std::string& rec, int threads, int rounds) {
  const auto dataset = open_images(rec);
  decode_alone(*dataset, threads);  // brings the file into memory
  std::vector<double> alone, loader, ratio;
  for (int round = 0; round < rounds; ++round) {
    alone.push_back(kImagesARound / seconds([&] { decode_alone(*dataset, threads); }));
    loader.push_back(kImagesARound /
                     seconds([&] { decode_in_loader(*dataset, {.threads = threads}); }));
    ratio.push_back(100 * loader.back() / alone.back());
  }
  const auto [least, most] = std::minmax_element(ratio.begin(), ratio.end());
  std::printf("%s, %d threads, %d rounds of %lld images\n\n", title(rec).c_str(), threads, rounds,
              static_cast<long long>(kImagesARound));
  std::printf("%-20s  %10s\n", "median", "images/s");
  std::printf("%-20s  %10.0f\n", "libjpeg-turbo alone", median(alone));
  std::printf("%-20s  %10.0f\n", "loader", median(loader));
  std::printf("%-20s  %9.1f%%  (%.1f%% to %.1f%%; goal: 80%%)\n", "ratio", median(ratio), *least,
              *most);
}

/// Each augmentation with its usual settings.
void compare_augmented(const std::string& rec, const std::vector<std::string>& augment, int threads,
                       int rounds) {
  const auto dataset = open_images(rec);
  const LoaderOptions plain{.threads = threads};
  LoaderOptions augmenting = plain;
  augmenting.augmenter = Augmenter(augment, usual_augmentation_values(), 0);
  decode_in_loader(*dataset, plain);  // brings the file into memory
  Rates without, with;
  for (int round = 0; round < rounds; ++round) {
    without.add_round([&] { decode_in_loader(*dataset, plain); });
    with.add_round([&] { decode_in_loader(*dataset, augmenting); });
  }
  std::printf("%s, %d threads, %d rounds of %lld images\n\n", title(rec).c_str(), threads, rounds,
              static_cast<long long>(kImagesARound));
  std::printf("%-20s  %10s  %10s\n", "median", "images/s", "a core");
  const auto print = [](const char* what, const Rates& rates) {
    std::printf("%-20s  %10.0f  %10.0f\n", what, median(rates.images), median(rates.images_a_core));
  };
  print("loader", without);
  print("augmenting", with);
  const auto ratio = [](std::vector<double> with_it, const std::vector<double>& without_it) {
    for (std::size_t i = 0; i < with_it.size(); ++i) with_it[i] *= 100 / without_it[i];
    return median(with_it);
  };
  std::printf("%-20s  %9.1f%%  %9.1f%%  (goal with AdaFace's three: 60%%)\n", "ratio",
              ratio(with.images, without.images), ratio(with.images_a_core, without.images_a_core));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Images/s of the loader against libjpeg-turbo alone");
  std::string rec;
  int threads = 2, rounds = 9, ranks = 0;
  app.add_option("TRAIN.rec", rec, "images to decode (default: synthetic ones)");
  app.add_option("--threads", threads)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--rounds", rounds)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--ranks", ranks, "compare so many ranks' loaders with one")
      ->check(CLI::Range(1, 1024))
      ->excludes("--threads");
  std::vector<std::string> augment;
  app.add_option("--augment", augment,
                 "compare the loader that makes these changes with the plain one")
      ->excludes("--ranks");
  CLI11_PARSE(app, argc, argv);
  try {
    if (ranks > 0) {
      compare_ranks(rec, ranks, rounds);
    } else if (!augment.empty()) {
      compare_augmented(rec, augment, threads, rounds);
    } else {
      compare_decoders(rec, threads, rounds);
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "decode_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
