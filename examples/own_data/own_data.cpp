// Draws a small set of faces, opens it, and counts what a loader returns: batches of decoded,
// mirrored images with the plan of each step. Any program can train on them.
//
//   own_data FOLDER
#include <pfc/data/dataset.h>
#include <pfc/data/loader.h>
#include <pfc/data/synthetic_set.h>

#include <cstdio>

int main(int, char** arguments) {
  pfc::write_synthetic_set(
      {.folder = arguments[1], .identities = 8, .images = 4, .unseen = 2, .pairs = 20});
  const auto set = pfc::open_dataset({.path = arguments[1]});
  const pfc::ClassShard shard(set->identities(), /*rank=*/0, /*world=*/1);
  const pfc::StepPlanner planner({.batch_size = 16}, set->labels(), pfc::ClassSampler({}, shard));
  pfc::Loader loader(*set, [&](std::int64_t step) { return planner.at(step); }, /*first_step=*/0, 0,
                     1, {});
  for (int i = 0; i < 3; ++i) {
    const auto [plan, batch] = loader.next();
    std::printf("step %d: %zu bytes of pixels, the first image is of identity %d\n",
                static_cast<int>(plan.step), batch.pixels.size(),
                static_cast<int>(plan.labels[0].v));
  }
}
