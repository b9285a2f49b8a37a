// The head as `pfc train` steps it, for a test of the Python package: reads embeddings-N (unit
// rows) and labels-N of each step in a folder and writes rows-N, loss-N and, at the end, centers.
#include <ATen/Functions.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "pfc/head/partial_fc.h"

namespace {

template <class T>
std::vector<T> read(const std::filesystem::path& path, std::int64_t count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  std::ifstream(path, std::ios::binary)
      .read(reinterpret_cast<char*>(values.data()), count * std::int64_t{sizeof(T)});
  return values;
}

void write(const std::filesystem::path& path, const void* values, std::size_t bytes) {
  std::ofstream(path, std::ios::binary)
      .write(static_cast<const char*>(values), static_cast<std::streamsize>(bytes));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) return 2;
  const std::filesystem::path folder = argv[1];
  const std::int64_t steps = std::stoll(argv[2]), samples = std::stoll(argv[3]),
                     dim = std::stoll(argv[4]), classes = std::stoll(argv[5]);
  const pfc::ClassShard shard(classes, 0, 1);
  const std::uint64_t seed = std::stoull(argv[7]);
  const pfc::ClassSampler sampler({.sample_rate = std::stod(argv[6]), .seed = seed}, shard);
  pfc::PartialFcOptions options;
  options.table.dim = dim;
  options.table.seed = seed;
  pfc::PartialFc head(options, shard);
  const auto comm = pfc::make_self_communicator();
  for (std::int64_t step = 0; step < steps; ++step) {
    const std::string number = std::to_string(step);
    std::vector<float> embeddings = read<float>(folder / ("embeddings-" + number), samples * dim);
    std::vector<pfc::GlobalClass> labels;
    for (const std::int64_t label : read<std::int64_t>(folder / ("labels-" + number), samples))
      labels.push_back({label});
    const pfc::SampledClasses drawn = sampler.draw(step, labels);
    head.begin(drawn, at::ones({samples}, at::kFloat));
    head.forward({at::from_blob(embeddings.data(), {samples, dim}, at::kFloat)}, *comm);
    head.exchange(*comm);
    const double loss = head.loss();
    pfc::Pending dx = comm->reduce_scatter(head.d_embeddings());
    head.update(0.1, dx);
    const std::vector<pfc::LocalRow> rows = drawn.rows();
    write(folder / ("rows-" + number), rows.data(), rows.size() * sizeof(pfc::LocalRow));
    write(folder / ("loss-" + number), &loss, sizeof loss);
  }
  const at::Tensor centers = head.settled_table().weights();
  write(folder / "centers", centers.const_data_ptr(), centers.nbytes());
  return 0;
}
