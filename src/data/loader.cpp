#include "pfc/data/loader.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/data/image_codec.h"

namespace pfc {
namespace {

constexpr std::size_t kRowBytes = std::size_t{kFaceSize} * 3;
constexpr std::size_t kImageBytes = kFaceSize * kRowBytes;

/// Flips an image left to right.
void mirror(std::uint8_t* pixels) {
  for (int y = 0; y < kFaceSize; ++y, pixels += kRowBytes) {
    std::uint8_t* left = pixels;
    std::uint8_t* right = pixels + kRowBytes - 3;
    for (; left < right; left += 3, right -= 3) std::swap_ranges(left, left + 3, right);
  }
}

}  // namespace

void decode_for_batch(std::span<const std::byte> encoded, bool mirrored, std::int64_t step,
                      std::int64_t place, const LoaderOptions& options, std::uint8_t* pixels) {
  if (options.resize) {
    decode_square(encoded, pixels);
  } else {
    decode_image(encoded, kFaceSize, kFaceSize, pixels);
  }
  if (mirrored) mirror(pixels);
  options.augmenter.apply({pixels, kFaceSize, kFaceSize}, step, place);
}

struct Loader::State {
  /// A batch in progress. Threads take its images one by one, so that none waits for another's
  /// share.
  struct Job {
    StepPlan plan;
    Batch batch;
    std::size_t images = 0;              ///< in the batch
    std::atomic<std::size_t> next{0};    ///< the first image that no thread has taken
    std::atomic<std::size_t> undone{0};  ///< images not decoded yet
    // Under the loader's mutex:
    bool done = false;
    std::exception_ptr failure;  ///< the error that stops the run at this step
    std::vector<std::pair<std::size_t, std::string>>
        corrupt;  ///< row in the batch, and what is wrong

    bool has_images_left() const { return next.load(std::memory_order_relaxed) < images; }
  };

  State(Dataset& dataset, std::function<StepPlan(std::int64_t)> plan_at, std::int64_t first_step,
        int rank, int world, const LoaderOptions& options)
      : dataset_(dataset),
        plan_at_(std::move(plan_at)),
        rank_(rank),
        world_(world),
        options_(options),
        next_step_(first_step),
        met_(static_cast<std::size_t>(dataset.size())) {
    for (int i = 0; i < options_.threads; ++i) {
      threads_.emplace_back([this](const std::stop_token& stop) { work(stop); });
    }
  }

  void work(const std::stop_token& stop);
  std::shared_ptr<Job> make_job(std::int64_t step);
  void decode_images(Job& job, const std::stop_token& stop, std::vector<std::byte>& scratch);
  std::optional<std::string> decode(Job& job, std::size_t row, std::vector<std::byte>& scratch);
  Batch buffer(std::size_t images);

  std::pair<StepPlan, Batch> take();
  void count(Job& job);

  std::shared_ptr<Job> job_with_images_left() const;
  bool can_plan() const {
    return !planning_ && !failed_ && queue_.size() < static_cast<std::size_t>(options_.prefetch);
  }

  Dataset& dataset_;
  const std::function<StepPlan(std::int64_t)> plan_at_;
  const int rank_, world_;
  const LoaderOptions options_;

  std::mutex mutex_;
  std::condition_variable_any work_changed_;  ///< a batch was planned or taken
  std::condition_variable job_done_;
  std::deque<std::shared_ptr<Job>> queue_;  ///< in order of steps
  std::vector<Batch> spare_;
  std::int64_t next_step_;  ///< the next step to plan
  bool planning_ = false;
  bool failed_ = false;  ///< no more steps are planned

  // Images of the returned batches. An image comes again in every epoch, and counts once.
  std::vector<bool> met_;
  std::int64_t images_met_ = 0;
  std::int64_t corrupt_met_ = 0;
  double seconds_waited_ = 0;

  std::vector<std::jthread>
      threads_;  ///< declared last, so that threads stop before the members they use are destroyed
};

void Loader::State::work(const std::stop_token& stop) {
  std::vector<std::byte> scratch;
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (can_plan()) {  // before decoding, so that there is always something to decode
      planning_ = true;
      const std::int64_t step = next_step_++;
      lock.unlock();
      std::shared_ptr<Job> job = make_job(step);
      lock.lock();
      planning_ = false;
      if (job->failure) failed_ = true;
      queue_.push_back(std::move(job));
      work_changed_.notify_all();
      job_done_.notify_one();
    } else if (const std::shared_ptr<Job> job = job_with_images_left()) {
      lock.unlock();
      decode_images(*job, stop, scratch);
      lock.lock();
    } else {
      work_changed_.wait(lock, stop, [&] { return can_plan() || job_with_images_left(); });
    }
  }
}

std::shared_ptr<Loader::State::Job> Loader::State::make_job(std::int64_t step) {
  auto job = std::make_shared<Job>();
  try {
    job->plan = plan_at_(step);
    const std::size_t batch_size = job->plan.images.size();
    const auto world = static_cast<std::size_t>(world_);
    const auto parts = world * static_cast<std::size_t>(job->plan.micro_batches);
    if (batch_size == 0 || batch_size % parts != 0 || job->plan.mirror.size() != batch_size) {
      throw Error("step " + std::to_string(step) + ": a plan of " + counted(batch_size, "image") +
                  " and " + counted(job->plan.mirror.size(), "mirror flag") +
                  " cannot be split over " + counted(world_, "rank") + " and " +
                  counted(job->plan.micro_batches, "micro-batch"));
    }
    const std::size_t images = batch_size / world;
    job->batch = buffer(images);
    job->batch.step = step;
    job->undone = images;
    job->images = images;
  } catch (...) {
    job->failure = std::current_exception();
    job->done = true;
  }
  return job;
}

Batch Loader::State::buffer(std::size_t images) {
  Batch batch;
  {
    const std::lock_guard lock(mutex_);
    if (!spare_.empty()) {
      batch = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  batch.pixels.resize(images * kImageBytes);
  batch.valid.assign(images, 1.0f);
  batch.corrupt.clear();
  return batch;
}

std::shared_ptr<Loader::State::Job> Loader::State::job_with_images_left() const {
  const auto job = std::find_if(queue_.begin(), queue_.end(), [](const std::shared_ptr<Job>& each) {
    return each->has_images_left();
  });
  return job != queue_.end() ? *job : nullptr;
}

void Loader::State::decode_images(Job& job, const std::stop_token& stop,
                                  std::vector<std::byte>& scratch) {
  while (!stop.stop_requested()) {
    const std::size_t row = job.next.fetch_add(1, std::memory_order_relaxed);
    if (row >= job.images) return;
    std::exception_ptr failure;
    std::optional<std::string> corrupt;
    try {
      corrupt = decode(job, row, scratch);
    } catch (...) {
      failure = std::current_exception();
    }
    if (corrupt || failure) {
      const std::lock_guard lock(mutex_);
      if (corrupt) job.corrupt.emplace_back(row, *corrupt);
      if (failure) job.failure = failure;
    }
    if (job.undone.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      const std::lock_guard lock(mutex_);
      job.done = true;
      job_done_.notify_one();
    }
  }
}

/// Decodes an image into its row of the batch. Returns the reason if it is corrupt.
std::optional<std::string> Loader::State::decode(Job& job, std::size_t row,
                                                 std::vector<std::byte>& scratch) {
  const std::size_t place = job.plan.place(rank_, world_, row);
  const std::int64_t image = job.plan.images[place];
  std::uint8_t* pixels = job.batch.pixels.data() + row * kImageBytes;
  const auto reject = [&](const Error& error) {
    std::fill_n(pixels, kImageBytes, std::uint8_t{0});
    job.batch.valid[row] = 0.0f;
    dataset_.exclude(image, error.what());
    return "image " + dataset_.key(image) + ": " + error.what();
  };
  std::span<const std::byte> encoded;
  try {
    encoded = dataset_.image(image, scratch);
  } catch (
      const DataError& error) {  // other errors, such as IoError, do not mean that it is broken
    return reject(error);
  }
  try {
    decode_for_batch(encoded, job.plan.mirror[place] != 0, job.plan.step,
                     static_cast<std::int64_t>(place), options_, pixels);
  } catch (const Error& error) {
    return reject(error);
  }
  return std::nullopt;
}

std::pair<StepPlan, Batch> Loader::State::take() {
  std::unique_lock lock(mutex_);
  const auto start = std::chrono::steady_clock::now();
  job_done_.wait(lock, [&] { return !queue_.empty() && queue_.front()->done; });
  seconds_waited_ +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  Job& job = *queue_.front();
  if (!job.failure) count(job);
  if (job.failure) {  // it stays first in the queue, for later calls
    failed_ = true;
    std::rethrow_exception(job.failure);
  }
  std::pair<StepPlan, Batch> taken(std::move(job.plan), std::move(job.batch));
  queue_.pop_front();
  work_changed_.notify_one();
  return taken;
}

/// Sorts the corrupt images of a batch, and stops the run if there were too many.
void Loader::State::count(Job& job) {
  std::sort(job.corrupt.begin(), job.corrupt.end());
  const auto is_new = [&](std::size_t row) {
    const std::int64_t image = job.plan.images[job.plan.place(rank_, world_, row)];
    auto met = met_[static_cast<std::size_t>(image)];
    if (met) return false;
    met = true;
    ++images_met_;
    return true;
  };
  for (auto& [row, what] : job.corrupt) {
    if (is_new(row)) ++corrupt_met_;
    job.batch.corrupt.push_back(std::move(what));
  }
  for (std::size_t row = 0; row < job.images; ++row) is_new(row);
  // Early in a run, one corrupt image is a large share. So a thousand images are awaited, unless it
  // is already certain that the share will be too large then.
  const auto images = static_cast<double>(std::max<std::int64_t>(images_met_, 1000));
  if (job.corrupt.empty() ||
      static_cast<double>(corrupt_met_) <= options_.most_corrupt_share * images) {
    return;
  }
  std::ostringstream message;
  message << grouped(corrupt_met_) << " of " << counted(images_met_, "image")
          << (corrupt_met_ == 1 ? " was" : " were") << " corrupt, more than the share of "
          << options_.most_corrupt_share
          << " that is allowed (data.max_corrupt_share); the last one: "
          << job.batch.corrupt.back();
  job.failure = std::make_exception_ptr(Error(message.str()));
}

Loader::Loader(Dataset& dataset, std::function<StepPlan(std::int64_t)> plan_at,
               std::int64_t first_step, int rank, int world, const LoaderOptions& options) {
  if (options.threads < 1 || options.prefetch < 1) {
    throw Error("the loader has " + std::to_string(options.threads) + " threads and " +
                counted(options.prefetch, "batch") + " to decode ahead, want 1 of each at least");
  }
  state_ = std::make_unique<State>(dataset, std::move(plan_at), first_step, rank, world, options);
}

Loader::~Loader() {
  for (std::jthread& thread : state_->threads_) thread.request_stop();
}

std::pair<StepPlan, Batch> Loader::next() {
  return state_->take();
}

void Loader::recycle(Batch batch) {
  const std::lock_guard lock(state_->mutex_);
  state_->spare_.push_back(std::move(batch));
}

std::int64_t Loader::corrupt() const {
  const std::lock_guard lock(state_->mutex_);
  return state_->corrupt_met_;
}

double Loader::seconds_waited() const {
  const std::lock_guard lock(state_->mutex_);
  return state_->seconds_waited_;
}

}  // namespace pfc
